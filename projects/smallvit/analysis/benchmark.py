"""Throughput and memory of one or more models, measured alternately."""

from __future__ import annotations

import ctypes
import gc
import statistics
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.optim import build_optim_wrapper
from mmengine.registry import init_default_scope
from torch import nn

from smallvit.analysis.fake_data import PUBLISHED_SHAPES, fake_batch, task_of
from smallvit.analysis.harness import Call, in_turns, synchronize
from smallvit.analysis.published_rois import published_rois
from smallvit.engine.compiling import compile_networks
from smallvit.engine.models import build_model
from smallvit.engine.precision import use_amp_training


@dataclass
class BenchmarkSettings:
    """Settings of a measurement.

    Args:
        batch_size (int): Images in a batch. Defaults to 1.
        shape (tuple[int, int], optional): Height and width. Defaults to None, the size
            of the task's published tables.
        device (str): Where to run. Defaults to "cpu".
        amp (bool): Autocast to bfloat16. Defaults to False.
        channels_last (bool): Memory format of images and weights. Defaults to False.
        compile (str, optional): Mode to compile the networks in, see
            :mod:`smallvit.engine.compiling`. Defaults to None: they are not compiled.
        repeats (int): Rounds; in each, every model is timed once. Defaults to 5.
        seconds (float): Shortest time of one timing. Defaults to 0.5.
    """

    batch_size: int = 1
    shape: tuple[int, int] | None = None
    device: str = "cpu"
    amp: bool = False
    channels_last: bool = False
    compile: str | None = None
    repeats: int = 5
    seconds: float = 0.5


def benchmark(cfgs: dict[str, Config], mode: str, settings: BenchmarkSettings) -> dict[str, Any]:
    """Measure the forward pass or the training step of several configs in one run.

    Args:
        cfgs (dict[str, Config]): Configs by the name to report them under.
        mode (str): "forward" or "train".
        settings (BenchmarkSettings): How to measure.

    Returns:
        dict: ``models``, for each name ``images_per_second`` (median), ``seconds`` (one
        step, median), ``cpu_seconds`` (the same of processor time), ``memory_mib`` (peak over
        what is held before, None if the system does not tell) and ``shape``; ``ratio``, the
        first model's speed over each
        other's, the median, least and greatest over the rounds.
    """
    if not MMLogger.check_instance_created("benchmark"):
        MMLogger.get_instance("benchmark", log_level="WARNING")  # no line for each parameter
    steps = {name: _step(cfg, mode, settings) for name, cfg in cfgs.items()}
    models = {}
    for name, (step, shape) in steps.items():
        step()  # the first call compiles and allocates
        models[name] = {"shape": list(shape), "memory_mib": peak_memory(step, settings.device)}
    timed = in_turns(
        {name: step for name, (step, _) in steps.items()},
        settings.repeats,
        seconds=settings.seconds,
        device=settings.device,
    )
    rounds = [{name: each.wall for name, each in turn.items()} for turn in timed]
    for name, result in models.items():
        result["seconds"] = statistics.median(times[name] for times in rounds)
        result["cpu_seconds"] = statistics.median(turn[name].cpu for turn in timed)
        result["images_per_second"] = settings.batch_size / result["seconds"]
    first, *others = cfgs
    ratios = {other: [times[other] / times[first] for times in rounds] for other in others}
    return {
        "mode": mode,
        "models": models,
        "ratio": {other: summarize(each) for other, each in ratios.items()},
    }


def time_in_turns(steps: dict[str, Call], settings: BenchmarkSettings) -> list[dict[str, float]]:
    """Time several steps alternately.

    Args:
        steps (dict[str, Callable]): What to time, by name; each has run once before.
        settings (BenchmarkSettings): Device, rounds, and the shortest time of one timing.

    Returns:
        list[dict[str, float]]: For each round the seconds of each step.
    """
    rounds = in_turns(steps, settings.repeats, seconds=settings.seconds, device=settings.device)
    return [{name: each.wall for name, each in turn.items()} for turn in rounds]


def summarize(ratios: list[float]) -> dict[str, float]:
    """Median, minimum and maximum of the ratios over the rounds.

    Args:
        ratios (list[float]): One for each round.

    Returns:
        dict[str, float]: ``median``, ``min`` and ``max``.
    """
    return {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)}


def _step(
    cfg: Config, mode: str, settings: BenchmarkSettings
) -> tuple[Callable[[], None], tuple[int, int]]:
    init_default_scope(cfg.get("default_scope") or "mmengine")
    model = build_model(cfg).to(settings.device)
    if settings.channels_last:
        model = model.to(memory_format=torch.channels_last)
    if settings.compile:
        compile_networks(model, settings.compile)
    shape = tuple(settings.shape or PUBLISHED_SHAPES[task_of(model)])
    batch = fake_batch(model, shape, settings.batch_size)
    make = _training_step if mode == "train" else _forward_step
    return make(model, cfg, batch, settings), shape


def _forward_step(
    model: nn.Module, cfg: Config, batch: dict, settings: BenchmarkSettings
) -> Callable:
    data = model.data_preprocessor(batch, training=False)
    inputs = data["inputs"]
    if settings.channels_last:
        inputs = inputs.contiguous(memory_format=torch.channels_last)
    autocast = (
        torch.autocast(settings.device.partition(":")[0], torch.bfloat16)
        if settings.amp
        else nullcontext()
    )

    def step() -> None:
        with torch.no_grad(), autocast, published_rois(model):
            model(inputs, data["data_samples"], mode="tensor")

    return step


def _training_step(
    model: nn.Module, cfg: Config, batch: dict, settings: BenchmarkSettings
) -> Callable:
    cfg = cfg.copy()
    if settings.amp:
        use_amp_training(cfg)
    wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    model.train()

    def step() -> None:
        model.train_step(batch, wrapper)

    return step


def peak_memory(step: Callable[[], None], device: str) -> float | None:
    """Measure the memory that a step needs in addition to what is already allocated.

    Args:
        step (Callable): What to run, once.
        device (str): A CUDA device, or "cpu".

    Returns:
        float | None: MiB; None on CPU where the system cannot reset its peak counter.
    """
    if device.startswith("cuda"):
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        step()
        synchronize(device)
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    try:
        _return_freed_memory()
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # resets VmHWM, the peak of the resident memory
        before = _status("VmRSS")
        step()
        return max(0, _status("VmHWM") - before) / 1024
    except OSError:
        step()
        return None


def _return_freed_memory() -> None:
    """Return freed memory to the system; the step would otherwise reuse it unnoticed."""
    gc.collect()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc has it
    if trim is not None:
        trim(0)


def _status(key: str) -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key))
