"""Gradient checkpointing that updates running statistics only once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


def checkpoint_once(owner: nn.Module, function: Callable, *args: Any) -> Any:
    """Apply gradient checkpointing without updating batch norm statistics twice.

    Checkpointing recomputes the forward pass during the backward pass. The running statistics of
    batch norms are not updated in the recomputation.

    Args:
        owner (nn.Module): Module that contains all layers called by ``function``.
        function (Callable): Part of the forward pass to recompute.
        *args: Positional arguments passed to ``function``.

    Returns:
        Any: Return value of ``function``.
    """
    norms = [each for each in owner.modules() if isinstance(each, _BatchNorm) and _tracks(each)]
    if not norms or torch.compiler.is_compiling():
        return checkpoint(function, *args, use_reentrant=False)
    contexts = nullcontext(), _frozen_statistics(norms)
    return checkpoint(function, *args, use_reentrant=False, context_fn=lambda: contexts)


def _tracks(norm: _BatchNorm) -> bool:
    return norm.training and norm.track_running_stats


@contextmanager
def _frozen_statistics(norms: list[_BatchNorm]) -> Iterator[None]:
    # With track_running_stats=False other tensors would be saved than in the first pass.
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(batches)
