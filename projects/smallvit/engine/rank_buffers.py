"""Buffers that differ between processes: running statistics without SyncBN.

A checkpoint contains only the buffers of rank 0, with which every process would resume.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from mmengine.dist import broadcast_object_list
from mmengine.runner import Runner
from torch import Tensor, nn


def models_of(runner: Runner) -> Iterator[tuple[str, nn.Module]]:
    """Iterate over the model of a run and its averages in EMA hooks.

    Args:
        runner (Runner): The runner that trains.

    Yields:
        tuple[str, nn.Module]: A prefix for names, and the model.
    """
    yield "", runner.model
    for hook in runner.hooks:
        average = getattr(hook, "ema_model", None)
        if isinstance(average, nn.Module):
            yield "ema.", average


def _buffers(runner: Runner) -> dict[str, Tensor]:
    return {
        prefix + name: buffer
        for prefix, model in models_of(runner)
        for name, buffer in model.named_buffers()
    }


def own_buffers(runner: Runner) -> dict[str, Tensor]:
    """Get the buffers of this process that differ from rank 0's; called by all processes.

    Args:
        runner (Runner): The runner that trains.

    Returns:
        dict[str, Tensor]: Buffers on the CPU; empty in rank 0.
    """
    own = {name: buffer.detach().cpu() for name, buffer in _buffers(runner).items()}
    shared = [own]
    broadcast_object_list(shared)
    return {
        name: buffer.clone() for name, buffer in own.items() if _differs(buffer, shared[0][name])
    }


def _differs(buffer: Tensor, other: Tensor) -> bool:
    return buffer.shape != other.shape or not torch.equal(buffer, other)


def restore_buffers(runner: Runner, stored: dict[str, Tensor]) -> None:
    """Restore the result of :func:`own_buffers`.

    Args:
        runner (Runner): The runner, with its checkpoint loaded.
        stored (dict[str, Tensor]): Buffers by name.
    """
    buffers = _buffers(runner)
    for name, value in stored.items():
        if name in buffers:
            buffers[name].data.copy_(value)
