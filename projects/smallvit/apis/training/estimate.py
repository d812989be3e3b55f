"""What a training will take: parameters, FLOPs, memory and time, measured by some steps."""

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
from smallvit.engine.models import build_model

#: Images of the measured steps, at most: a CPU takes one after the other anyway.
MEASURED, MEASURED_DENSE = 8, 2
#: Steps that are timed at most, and the seconds after which no further one is.
STEPS, LONG_ENOUGH = 3, 4.0
#: Bytes of a weight, its gradient and AdamW's two averages.
BYTES_PER_WEIGHT = 16
#: The largest batch that ``auto`` takes, and the part of the free memory that it fills.
LARGEST, PART = 256, 0.7


@dataclass(frozen=True)
class Estimate:
    """What a training takes.

    Args:
        params (int): Parameters of the model.
        flops (int): Multiply-adds for one image.
        shape (tuple[int, int]): Its height and width.
        seconds (float): Of a step, for each of its images.
        fixed (int): Bytes of weights, gradients and the optimizer.
        per_image (int): Bytes that each image of a step adds.
        device (str): Where it was measured.
    """

    params: int
    flops: int
    shape: tuple[int, int]
    seconds: float
    fixed: int
    per_image: int
    device: str

    def memory(self, batch: int) -> int:
        """int: Bytes of a step of so many images."""
        return self.fixed + batch * self.per_image


def estimate(cfg: Config, shape: tuple[int, int], channels: int) -> Estimate:
    """Build what a config describes, and time a step of it.

    Args:
        cfg (Config): The resolved config; it is not changed.
        shape (tuple[int, int]): Height and width for which FLOPs are counted.
        channels (int): Channels of the images.

    Returns:
        Estimate: What it takes.
    """
    cfg = deepcopy(cfg)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    loader = cfg.train_dataloader
    classifies = cfg.get("default_scope") == "mmpretrain"
    images = min(loader.batch_size, MEASURED if classifies else MEASURED_DENSE)
    loader.update(batch_size=images, num_workers=0, persistent_workers=False, pin_memory=False)
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope")):
        model = build_model(cfg)
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
    """Without the lines that MMEngine logs of each parameter, for which there is no file here."""
    logger = MMLogger.get_current_instance()
    level = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(level)


def _bytes_for_backward(model: nn.Module, batch: Any) -> int:
    """Sum up what a forward pass keeps for the backward one; weights are counted elsewhere."""
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
        kept = [value for key, value in losses.items() if "loss" in key]  # they hold the graph
    del kept, losses
    return sum(seen.values())


def _seconds(model: nn.Module, batch: Any, wrapper: Any) -> float:
    model.train_step(deepcopy(batch), wrapper)  # the first step allocates
    steps: list[float] = []
    # Another program on the machine makes a step longer, and none makes it shorter.
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
    """Tell how much memory a training may take.

    Returns:
        int: Bytes that are free, on the GPU where there is one.
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
    """Choose the batch that fits into the memory.

    Args:
        found (Estimate): What a step takes.
        images (int): Training images.
        least (int): The smallest batch that the model trains with, whatever else. Defaults to 1.

    Returns:
        int: A power of two, with eight steps or more in an epoch where the least leaves so many.
    """
    batch, room = least, free_memory() * PART
    limit = min(LARGEST, images // LEAST_STEPS)
    while batch * 2 <= limit and found.memory(batch * 2) <= room:
        batch *= 2
    return batch
