"""Parts of transformer blocks that plugins can replace: attention logits, feed-forward."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from smallvit.hosts.adapters import Adapters

_PARTS = Adapters("supported transformer block", "smallvit.hosts.register_parts")


@dataclass
class BlockParts:
    """Parts of a transformer block.

    Args:
        attention (nn.Module): Attention layer with the attribute ``num_heads``.
        norm (tuple[nn.Module, str]): Parent module and attribute name of the LayerNorm before the
            feed-forward network.
        expand (tuple[nn.Module, str]): Parent module and attribute name of the first layer of the
            feed-forward network, linear or a 1x1 convolution.
        head_tokens (int): Number of tokens that the attention appends after the patches.
            Defaults to 0.
        logits (str): Attribute of the attention through which its logits pass:
            "scaled_dot_product_attention", a callable with the signature of PyTorch's function, or
            "logits", a module from logits to logits. Defaults to
            "scaled_dot_product_attention".
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
        force (bool): Whether to replace a registered adapter. Defaults to False.

    Returns:
        Callable: Decorator for a function that maps a block to its :class:`BlockParts`.
    """
    return _PARTS.register(*classes, force=force)


def block_parts(block: nn.Module) -> BlockParts:
    """Get the parts of a block from the adapter of its class.

    Args:
        block (nn.Module): Transformer block of a registered class.

    Returns:
        BlockParts: Attention, norm and first feed-forward layer of the block.

    Raises:
        HostError: If no adapter is registered for its class.
    """
    return _PARTS.get(block)(block)


# Kept for compatibility with ``reuse_site.register`` of version 0.1.
block_parts.register = register_parts  # type: ignore[attr-defined]
