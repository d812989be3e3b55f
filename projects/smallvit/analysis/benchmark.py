"""Throughput and memory of one or more models, measured alternately."""

from __future__ import annotations

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
from smallvit.analysis.harness import Call, time_interleaved
from smallvit.analysis.memory import peak_memory
from smallvit.analysis.published_rois import published_rois
from smallvit.engine.compiling import compile_networks
from smallvit.engine.model_settings import channels_of
from smallvit.engine.models import build_model
from smallvit.engine.precision import use_amp_training


@dataclass
class BenchmarkSettings:
    """Settings of a benchmark.

    Args:
        batch_size (int): Images per batch. Defaults to 1.
        shape (tuple[int, int], optional): Height and width of the images. Defaults to None: the
            size in the published tables of the task.
        device (str): Device to run on. Defaults to "cpu".
        amp (bool): Whether to use autocast with bfloat16. Defaults to False.
        channels_last (bool): Whether images and weights are in channels-last memory format.
            Defaults to False.
        compile (str, optional): Mode of ``torch.compile``, see :mod:`smallvit.engine.compiling`.
            Defaults to None: not compiled.
        repeats (int): Number of rounds; each model is timed once per round. Defaults to 5.
        seconds (float): Minimum duration of a measurement. Defaults to 0.5.
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
    """Measure the forward pass or the training step of several configs alternately.

    Args:
        cfgs (dict[str, Config]): Configs by name.
        mode (str): "forward" or "train".
        settings (BenchmarkSettings): Batch size, device and duration.

    Returns:
        dict: ``models`` contains for each name the medians ``images_per_second``, ``seconds`` (wall
        time per step) and ``cpu_seconds`` (CPU time per step), ``memory_mib`` (peak of the memory
        of tensors minus that in use before) and ``shape``; ``ratio``
        contains the speed of the first model relative to each other one, as median, minimum and
        maximum over the rounds.
    """
    if not MMLogger.check_instance_created("benchmark"):
        MMLogger.get_instance("benchmark", log_level="WARNING")  # suppress a line per parameter
    steps = {name: _step(cfg, mode, settings) for name, cfg in cfgs.items()}
    models = {}
    for name, (step, shape) in steps.items():
        step()  # the first call compiles and allocates memory
        models[name] = {"shape": list(shape), "memory_mib": peak_memory(step, settings.device)}
    timed = time_interleaved(
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
        steps (dict[str, Callable]): Functions by name, each of which has run once.
        settings (BenchmarkSettings): Device, number of rounds and minimum duration.

    Returns:
        list[dict[str, float]]: Seconds per call of each function, for each round.
    """
    rounds = time_interleaved(
        steps, settings.repeats, seconds=settings.seconds, device=settings.device
    )
    return [{name: each.wall for name, each in turn.items()} for turn in rounds]


def summarize(ratios: list[float]) -> dict[str, float]:
    """Median, minimum and maximum of the ratios over the rounds.

    Args:
        ratios (list[float]): Ratio of each round.

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
    batch = fake_batch(model, shape, settings.batch_size, channels=channels_of(cfg))
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
