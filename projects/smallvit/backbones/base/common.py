"""Common functions of backbones: output selection, freezing, gradient checkpointing."""

import inspect
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from smallvit.layers.checkpointing import checkpoint_once

#: Arguments of a model that take feature maps of its backbone as input.
MAP_CONSUMERS = ("neck", "decode_head", "rpn_head", "bbox_head")
LINEAR_INIT = dict(type="TruncNormal", layer="Linear", std=0.02, bias=0.0)


def resolve_indices(indices: int | Sequence[int], count: int, what: str = "stage") -> tuple:
    """Convert output indices, which may be negative, to ascending stage numbers.

    Args:
        indices (int | Sequence[int]): One index or several; negative ones count from the end.
        count (int): Number of stages.
        what (str): Noun for a stage in the error message. Defaults to "stage".

    Returns:
        tuple[int, ...]: Sorted unique indices in ``range(count)``.

    Raises:
        ValueError: If an index is outside ``-count .. count - 1``.
    """
    given = [indices] if isinstance(indices, int) else list(indices)
    wrong = [index for index in given if not -count <= index < count]
    if wrong or not given:
        raise ValueError(
            f"expected out_indices from 0 to {count - 1}, or -1 for the last of {count} {what}s, "
            f"got {indices!r}"
        )
    return tuple(sorted({index % count for index in given}))


def owner_takes_maps() -> bool:
    """Whether the backbone that is being built is part of a model with :data:`MAP_CONSUMERS`.

    Models of the OpenMMLab libraries build their backbone in ``__init__`` from the argument
    ``backbone``, without information about the modules that follow it. The arguments for these are
    read from the stack frame of the nearest caller with an argument ``backbone``.

    Returns:
        bool: True if any of these arguments is set; False if not, or without such a caller.
    """
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_name == "__init__" and "backbone" in frame.f_code.co_varnames:
            found = frame.f_locals
            return any(found.get(name) is not None for name in MAP_CONSUMERS)
        frame = frame.f_back
    return False


def freeze(modules: Iterable[nn.Module]) -> None:
    """Freeze modules: evaluation mode and no gradients."""
    for module in modules:
        module.eval()
        module.requires_grad_(False)


def run_blocks(blocks: Iterable[nn.Module], x: Tensor, *args, with_cp: bool) -> Tensor:
    """Run blocks sequentially, optionally with gradient checkpointing.

    Args:
        blocks (Iterable[nn.Module]): Blocks that take ``(x, *args)`` and return ``x``.
        x (Tensor): Input of the first block.
        *args: Additional arguments of each block.
        with_cp (bool): Whether to use gradient checkpointing.

    Returns:
        Tensor: Output of the last block.
    """
    for block in blocks:
        if with_cp and torch.is_grad_enabled() and x.requires_grad:
            x = checkpoint_once(block, block, x, *args)
        else:
            x = block(x, *args)
    return x
