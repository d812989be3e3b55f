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
    """Run a function whose activations are recomputed in the backward pass.

    The forward pass runs twice in a step; batch norms would update their running statistics
    twice too.

    Args:
        owner (nn.Module): The module whose parts the function runs.
        function (Callable): What to run.
        *args: Its arguments.

    Returns:
        Any: What it returns.
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
    # Disabling track_running_stats would save other tensors than the first pass did.
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked.copy_(batches)
