"""What every backbone does alike: choose outputs, freeze, checkpoint gradients."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from smallvit.layers.checkpointing import checkpoint_once

LINEAR_INIT = dict(type="TruncNormal", layer="Linear", std=0.02, bias=0.0)


def resolve_indices(indices: int | Sequence[int], count: int, what: str = "stage") -> tuple:
    """Turn output indices, negative ones included, into ascending stage numbers.

    Args:
        indices (int | Sequence[int]): One index or several.
        count (int): How many stages there are.
        what (str): What is counted, for the error. Defaults to "stage".

    Returns:
        tuple[int, ...]: Sorted numbers in ``range(count)``, each once.

    Raises:
        ValueError: If an index is outside ``-count .. count - 1``.
    """
    given = [indices] if isinstance(indices, int) else list(indices)
    wrong = [index for index in given if not -count <= index < count]
    if wrong or not given:
        raise ValueError(
            f"out_indices={indices!r} does not fit a backbone of {count} {what}s; "
            f"use numbers from 0 to {count - 1}, or -1 for the last"
        )
    return tuple(sorted({index % count for index in given}))


def freeze(modules: Iterable[nn.Module]) -> None:
    """Take modules out of training: eval mode and no gradients."""
    for module in modules:
        module.eval()
        module.requires_grad_(False)


def run_blocks(blocks: Iterable[nn.Module], x: Tensor, *args, with_cp: bool) -> Tensor:
    """Run blocks one after the other, recomputing activations in the backward pass on demand.

    Args:
        blocks (Iterable[nn.Module]): Blocks that take ``(x, *args)`` and return ``x``.
        x (Tensor): Input of the first block.
        *args: Passed to each block unchanged.
        with_cp (bool): Whether to save memory by gradient checkpointing.

    Returns:
        Tensor: Output of the last block.
    """
    for block in blocks:
        if with_cp and torch.is_grad_enabled() and x.requires_grad:
            x = checkpoint_once(block, block, x, *args)
        else:
            x = block(x, *args)
    return x
