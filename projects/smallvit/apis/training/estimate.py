"""Estimates of parameters, FLOPs, memory and time of a training run, from a few steps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from torch import Tensor, nn

from smallvit.analysis.complexity import model_complexity
from smallvit.apis.training.plan import LEAST_STEPS
from smallvit.engine.class_weights import resolve_class_weights
from smallvit.engine.model_checks import model_faults
from smallvit.engine.models import build_model
from smallvit.errors import UserError

#: Maximum batch size of the measured steps; on a CPU, larger batches are no faster per image.
MEASURED, MEASURED_DENSE = 8, 2
#: Maximum number of timed steps, and seconds after which no further step is timed.
STEPS, LONG_ENOUGH = 3, 4.0
#: Bytes of a weight, its gradient and the two moments of AdamW.
BYTES_PER_WEIGHT = 16
#: Largest batch size that ``auto`` chooses, and the fraction of free memory that it may use.
LARGEST, PART = 256, 0.7


@dataclass(frozen=True)
class Estimate:
    """Estimated cost of a training run.

    Args:
        params (int): Number of parameters.
        flops (int): Multiply-adds for one image.
        shape (tuple[int, int]): Height and width of that image.
        seconds (float): Seconds per image of a training step.
        fixed (int): Bytes of weights, gradients and optimizer state.
        per_image (int): Bytes per image of a training step.
        device (str): Device of the measurement.
    """

    params: int
    flops: int
    shape: tuple[int, int]
    seconds: float
    fixed: int
    per_image: int
    device: str

    def memory(self, batch: int) -> int:
        """Estimate the bytes of a training step with a given batch size."""
        return self.fixed + batch * self.per_image


def estimate(cfg: Config, shape: tuple[int, int], channels: int) -> Estimate:
    """Build the model of a config and time its training steps.

    Args:
        cfg (Config): Resolved config; it is not modified.
        shape (tuple[int, int]): Image height and width for which FLOPs are counted.
        channels (int): Number of image channels.

    Returns:
        Estimate: Cost of the training run.
    """
    cfg = deepcopy(cfg)
    resolve_class_weights(cfg)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loader = cfg.train_dataloader
    classifies = cfg.get("default_scope") == "mmpretrain"
    images = min(loader.batch_size, MEASURED if classifies else MEASURED_DENSE)
    loader.update(batch_size=images, num_workers=0, persistent_workers=False, pin_memory=False)
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope")):
        model = build_model(cfg)
        for fault in model_faults(model, ()):
            raise UserError(fault)
        counted = model_complexity(model, shape, channels=channels)
        model = model.to(device).train()
        batch = next(iter(Runner.build_dataloader(loader, seed=0)))
        with _without_settings_of_parameters():
            wrapper = build_optim_wrapper(model, deepcopy(cfg.optim_wrapper))
        held = _bytes_for_backward(model, batch)
        seconds = _seconds(model, batch, wrapper)
    return Estimate(
        counted["params"],
        counted["flops"],
        shape,
        seconds / images,
        counted["params"] * BYTES_PER_WEIGHT,
        held // images,
        device,
    )


@contextmanager
def _without_settings_of_parameters() -> Iterator[None]:
    """Silence the per-parameter lines that MMEngine logs when it builds an optimizer."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)


def _bytes_for_backward(model: nn.Module, batch: Any) -> int:
    """Sum the bytes of the saved tensors of a forward pass, without the weights."""
    weights = {one.untyped_storage().data_ptr() for one in model.parameters()}
    seen: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            seen[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        data = model.data_preprocessor(deepcopy(batch), training=True)
        losses = model(**data, mode="loss")
        kept = [value for key, value in losses.items() if "loss" in key]  # keeps the graph alive
    del kept, losses
    return sum(seen.values())


def _seconds(model: nn.Module, batch: Any, wrapper: Any) -> float:
    model.train_step(deepcopy(batch), wrapper)  # the first step allocates
    steps: list[float] = []
    # The minimum, because other processes can only make a step longer.
    while len(steps) < STEPS and sum(steps) < LONG_ENOUGH:
        _wait()
        began = time.perf_counter()
        model.train_step(deepcopy(batch), wrapper)
        _wait()
        steps.append(time.perf_counter() - began)
    return min(steps)


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def free_memory() -> int:
    """Get the free memory of the GPU, or of the machine without one.

    Returns:
        int: Bytes.
    """
    if torch.cuda.is_available():
        return torch.cuda.mem_get_info()[0]
    import os

    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def largest_batch(found: Estimate, images: int, least: int = 1) -> int:
    """Choose the largest batch size that fits into memory.

    Args:
        found (Estimate): Measured cost of a step.
        images (int): Number of training images.
        least (int): Smallest batch size that the model can be trained with. Defaults to 1.

    Returns:
        int: ``least`` times a power of two, with eight or more steps per epoch unless ``least`` is
        too large for that.
    """
    batch, room = least, free_memory() * PART
    limit = min(LARGEST, images // LEAST_STEPS)
    while batch * 2 <= limit and found.memory(batch * 2) <= room:
        batch *= 2
    return batch
