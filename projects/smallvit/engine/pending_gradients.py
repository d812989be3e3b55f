"""Gradients of an optimizer step that is under way when a checkpoint is written.

With gradient accumulation a checkpoint may fall between two batches of one step, and the end
of an epoch with an odd number of batches is such a place.
"""

from __future__ import annotations

from mmengine.runner import Runner
from torch import Tensor, nn


def _parameters(runner: Runner) -> dict[str, nn.Parameter]:
    return {
        name.removeprefix("module."): parameter
        for name, parameter in runner.model.named_parameters()
    }


def pending_gradients(runner: Runner) -> dict[str, Tensor]:
    """Read the gradients that this process has summed up since the last optimizer step.

    Args:
        runner (Runner): The runner.

    Returns:
        dict[str, Tensor]: Gradients by name, on the CPU; none right after a step.
    """
    return {
        name: parameter.grad.detach().cpu().clone()
        for name, parameter in _parameters(runner).items()
        if parameter.grad is not None
    }


def restore_gradients(runner: Runner, stored: dict[str, Tensor]) -> None:
    """Put back what :func:`pending_gradients` read.

    Args:
        runner (Runner): The runner, its checkpoint loaded.
        stored (dict[str, Tensor]): The gradients.
    """
    for name, parameter in _parameters(runner).items():
        if name in stored:
            parameter.grad = stored[name].to(parameter.device, parameter.dtype)
