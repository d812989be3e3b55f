"""Parts of transformer blocks that plugins can replace: attention logits, feed-forward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from smallvit.hosts.adapters import Adapters

_PARTS = Adapters("transformer block whose parts are known", "smallvit.hosts.register_parts")


@dataclass
class BlockParts:
    """Locations of the parts of a block.

    Args:
        attention (nn.Module): Attention with ``num_heads``.
        norm (tuple[nn.Module, str]): Owner and name of the LayerNorm in front of the
            feed-forward part.
        expand (tuple[nn.Module, str]): Owner and name of the first layer of the
            feed-forward part, linear or a 1x1 convolution.
        head_tokens (int): Tokens that the attention appends behind the patches.
            Defaults to 0.
        logits (str): Attribute of the attention that its logits go through:
            "scaled_dot_product_attention", called as PyTorch's function is, or "logits", a
            module that takes and returns them. Defaults to the former.
    """

    attention: nn.Module
    norm: tuple[nn.Module, str]
    expand: tuple[nn.Module, str]
    head_tokens: int = 0
    logits: str = "scaled_dot_product_attention"

    @property
    def num_heads(self) -> int:
        """Number of attention heads."""
        return self.attention.num_heads


def register_parts(*classes: type | str, force: bool = False) -> Callable:
    """Register a decorated function as the adapter of some block classes.

    Args:
        *classes (type | str): Classes or their full names, see :func:`register_host`.
        force (bool): Whether an adapter that is there may be replaced. Defaults to False.

    Returns:
        Callable: The decorator of a function from the block to its :class:`BlockParts`.
    """
    return _PARTS.register(*classes, force=force)


def block_parts(block: nn.Module) -> BlockParts:
    """Find the parts of a block.

    Args:
        block (nn.Module): A transformer block.

    Returns:
        BlockParts: Its parts.

    Raises:
        HostError: If its class is not known.
    """
    return _PARTS.get(block)(block)


# As the ``reuse_site`` of version 0.1 had it.
block_parts.register = register_parts  # type: ignore[attr-defined]
