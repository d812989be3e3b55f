"""Time of the forward pass, the backward pass and the optimizer in training steps."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from smallvit.analysis.harness import Rounds, Timing, timed

PARTS = ("forward", "backward", "optimizer")


@dataclass
class Training:
    """Model with its optimizer.

    Args:
        model (nn.Module): Model that takes images (B, C, H, W).
        optimizer (torch.optim.Optimizer): Optimizer of all its parameters.
        forward (Callable, optional): Function from images to outputs. Defaults to None: the model.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    forward: Callable[[Tensor], Any] | None = None


def tensors_in(outputs: Any) -> Iterable[Tensor]:
    """Find the tensors in a model's output.

    Args:
        outputs (Any): Tensor, or nested tuples, lists and dicts of tensors.

    Yields:
        Tensor: Each tensor.
    """
    if isinstance(outputs, Tensor):
        yield outputs
    elif isinstance(outputs, Mapping):
        for value in outputs.values():
            yield from tensors_in(value)
    elif isinstance(outputs, (tuple, list)):
        for value in outputs:
            yield from tensors_in(value)


def time_step(
    training: Training, images: Tensor, dtype: torch.dtype = torch.float32
) -> dict[str, Timing]:
    """Run a training step and time its parts. The loss is the mean square of the outputs.

    Args:
        training (Training): Model and optimizer.
        images (Tensor): Images (B, C, H, W).
        dtype (torch.dtype): Dtype of autocast; float32 disables it. Defaults to torch.float32.

    Returns:
        dict[str, Timing]: Duration of each of :data:`PARTS`.
    """
    device = images.device.type
    loss = None

    def forward() -> None:
        nonlocal loss
        with torch.autocast(device, dtype, enabled=dtype != torch.float32):
            outputs = (training.forward or training.model)(images)
        loss = sum(output.float().square().mean() for output in tensors_in(outputs))

    found = {"forward": timed(forward, device=str(images.device))}
    found["backward"] = timed(lambda: loss.backward(), device=str(images.device))

    def step() -> None:
        training.optimizer.step()
        training.optimizer.zero_grad()

    found["optimizer"] = timed(step, device=str(images.device))
    return found


def time_trainings(
    trainings: Mapping[str, Training],
    images: Tensor,
    rounds: int = 7,
    dtype: torch.dtype = torch.float32,
) -> list[dict[str, dict[str, Timing]]]:
    """Time training steps of several models alternately.

    Args:
        trainings (Mapping[str, Training]): Models and optimizers by name.
        images (Tensor): Images (B, C, H, W).
        rounds (int): Number of steps of each model. Defaults to 7.
        dtype (torch.dtype): See :func:`time_step`. Defaults to torch.float32.

    Returns:
        list[dict]: Results of :func:`time_step` by name, for each round. Every other round runs
        the models in reverse order.
    """
    for training in trainings.values():
        training.model.train()
        time_step(training, images, dtype)  # allocates memory and creates the optimizer's state
    found = []
    for number in range(rounds):
        names = list(trainings)[:: -1 if number % 2 else 1]
        found.append({name: time_step(trainings[name], images, dtype) for name in names})
    return found


def summarize_parts(
    rounds: list[dict[str, dict[str, Timing]]], ours: str = "ours"
) -> dict[str, dict[str, dict[str, float]]]:
    """Compute medians of the times, and of the ratios within each round.

    Args:
        rounds (list): Result of :func:`time_trainings`.
        ours (str): Name of the model that the ratios refer to. Defaults to "ours".

    Returns:
        dict: For each name and part, and "step" for all parts together: ``cpu`` and ``wall`` in
        seconds, and ``cpu_ratio`` and ``wall_ratio``, relative to ``ours``.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for name in rounds[0]:
        found[name] = {}
        for part in (*PARTS, "step"):
            parts = PARTS if part == "step" else (part,)
            figures = {}
            for clock in ("cpu", "wall"):
                mine, others = (
                    [sum(getattr(turn[who][one], clock) for one in parts) for turn in rounds]
                    for who in (ours, name)
                )
                figures[clock] = statistics.median(others)
                figures[f"{clock}_ratio"] = statistics.median(
                    other / max(own, 1e-9) for own, other in zip(mine, others, strict=True)
                )
            found[name][part] = figures
    return found


def median_timing(rounds: Rounds) -> dict[str, dict[str, float]]:
    """Compute medians over the rounds.

    Args:
        rounds (list[dict[str, Timing]]): Result of
            :func:`smallvit.analysis.harness.time_interleaved`.

    Returns:
        dict[str, dict[str, float]]: ``cpu`` and ``wall`` in seconds, by name.
    """
    return {
        name: {
            clock: statistics.median(getattr(turn[name], clock) for turn in rounds)
            for clock in ("cpu", "wall")
        }
        for name in rounds[0]
    }


def geometric_means(results: list[dict[str, Any]], ours: str = "ours") -> dict[str, float]:
    """Compute geometric means of the ratios of whole steps over several architectures.

    Args:
        results (list[dict]): Results with ``models``, the output of :func:`summarize_parts`.
        ours (str): Name of the model that the ratios refer to. Defaults to "ours".

    Returns:
        dict[str, float]: Mean ratio of CPU times by name, over the architectures that have it.
    """
    found: dict[str, list[float]] = {}
    for result in results:
        for name, parts in result["models"].items():
            if name != ours:
                found.setdefault(name, []).append(parts["step"]["cpu_ratio"])
    return {name: statistics.geometric_mean(ratios) for name, ratios in found.items()}
