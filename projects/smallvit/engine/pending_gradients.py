"""Gradients accumulated for an unfinished optimizer step when a checkpoint is written.

With gradient accumulation a checkpoint may be written between two batches of one step, for
example at the end of an epoch with an odd number of batches.
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
    """Get the gradients that this process has accumulated since the last optimizer step.

    Args:
        runner (Runner): The runner that trains.

    Returns:
        dict[str, Tensor]: Gradients by parameter name, on the CPU; empty right after a step.
    """
    return {
        name: parameter.grad.detach().cpu().clone()
        for name, parameter in _parameters(runner).items()
        if parameter.grad is not None
    }


def restore_gradients(runner: Runner, stored: dict[str, Tensor]) -> None:
    """Restore the result of :func:`pending_gradients`.

    Args:
        runner (Runner): The runner, with its checkpoint loaded.
        stored (dict[str, Tensor]): Gradients by parameter name.
    """
    for name, parameter in _parameters(runner).items():
        if name in stored:
            parameter.grad = stored[name].to(parameter.device, parameter.dtype)
