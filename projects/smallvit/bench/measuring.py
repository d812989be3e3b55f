"""Sizes and costs of the networks of a bench."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from smallvit.analysis.benchmark import BenchmarkSettings, benchmark
from smallvit.analysis.complexity import complexity
from smallvit.bench.methods import parse_method
from smallvit.bench.plan import BenchSettings, Run
from smallvit.bench.recipe import model_config, run_config
from smallvit.bench.references import seen_size, without_weights
from smallvit.bench.sizes import FLOPS, can_widen, find_width, set_width, step_of, width_of
from smallvit.bench.tasks import CLASSIFICATION
from smallvit.engine.models import build_model

#: Minimum duration in seconds of one timing.
SECONDS = 0.3


def fit(
    settings: BenchSettings, networks: Sequence[str], num_classes: int, report: Callable
) -> dict[str, dict[str, float]]:
    """Find the widths at which networks have the target size.

    Args:
        settings (BenchSettings): Settings of the bench; ``sizes`` and ``target`` define the size.
        networks (Sequence[str]): Names of methods without guidance.
        num_classes (int): Number of classes.
        report (Callable): Unused.

    Returns:
        dict[str, dict[str, float]]: Fields of :class:`smallvit.bench.sizes.Fitted` for each
        network of the bench; networks of timm and of user configs, which are not scaled, are
        omitted.
    """
    found = {}
    for name in networks:
        method = parse_method(name)
        if not can_widen(method):
            if method.base.endswith(".py"):
                model_config(method, settings.image_size, num_classes)  # refuses other configs
            continue
        cfg = run_config(settings, Run(name, None, 0, 1, 1), num_classes)
        measure = partial(_size, settings, cfg)
        fitted = find_width(measure, step_of(cfg.model), settings.target, width_of(cfg.model))
        found[name] = {"width": fitted.width, "size": fitted.size}
    return found


def _size(settings: BenchSettings, published: Config, width: int) -> int:
    cfg = deepcopy(published)
    if width:
        set_width(cfg.model, width)
    init_default_scope(cfg.default_scope)
    if settings.sizes == FLOPS:
        return complexity(cfg, (settings.image_size,) * 2)["flops"]
    try:
        with torch.device("meta"):  # parameters are only counted, so no memory is needed
            model = build_model(cfg)
    except (RuntimeError, NotImplementedError):  # MMPretrain's ResNet reads values of a tensor
        model = build_model(cfg)
    return sum(each.numel() for each in model.parameters())


def measure(
    settings: BenchSettings,
    methods: Mapping[str, int],
    num_classes: int,
    report: Callable,
) -> dict[str, Any]:
    """Count parameters and FLOPs, and measure the speed of the networks alternately.

    A guided network is measured without its teacher, as in inference.

    Args:
        settings (BenchSettings): Settings of the bench.
        methods (Mapping[str, int]): Methods to measure, with their widths.
        num_classes (int): Number of classes.
        report (Callable): Unused.

    Returns:
        dict: ``methods``, for each ``params``, ``flops``, ``images_per_second``,
        ``step_seconds`` (of a training step: CPU time on a CPU, which does not depend on other
        programs, and wall time on a GPU) and ``memory_mib`` (the peak of its tensors); ``note``, a
        description of the measurement.
    """
    place = device()
    batch = 16 if place == "cpu" else 128
    if settings.task != CLASSIFICATION:
        batch = 2 if place == "cpu" else 8
    size = settings.image_size
    networks = {parse_method(name).network: width for name, width in sorted(methods.items())}
    cfgs = {
        name: run_config(settings, Run(name, None, 0, 1, 1, width), num_classes)
        for name, width in networks.items()
    }
    sizes = {name: seen_size(parse_method(name), size) for name in cfgs}
    speeds, steps = {}, {}
    for side in sorted(set(sizes.values())):
        alike = {name: without_weights(cfg) for name, cfg in cfgs.items() if sizes[name] == side}
        how = BenchmarkSettings(batch_size=batch, shape=(side, side), device=place, seconds=SECONDS)
        speeds |= benchmark(alike, "forward", how)["models"]
        how = replace(how, batch_size=settings.batch_size)
        steps |= benchmark(alike, "train", how)["models"]
    found = {}
    for name, cfg in cfgs.items():
        counted = complexity(cfg, (sizes[name],) * 2)
        found[name] = {
            "params": counted["params"],
            "flops": counted["flops"],
            "images_per_second": speeds[name]["images_per_second"],
            "step_seconds": steps[name]["cpu_seconds" if place == "cpu" else "seconds"],
            "memory_mib": steps[name]["memory_mib"],
        }
    threads = f", threads: {torch.get_num_threads()}" if place == "cpu" else ""
    note = (
        f"{settings.task}, forward pass, batch size {batch} at {size}x{size}"
        f"{_others(sizes, size)}, {_device_name()}{threads}, float32; "
        f"a training step at batch size {settings.batch_size} without a teacher, in "
        f"{'CPU' if place == 'cpu' else 'GPU'} seconds, all methods interleaved"
    )
    return {"note": note, "methods": {each: found[parse_method(each).network] for each in methods}}


def _others(sizes: Mapping[str, int], size: int) -> str:
    """List the networks whose input size differs from that of the bench."""
    listed = [f"{name} at {side}x{side}" for name, side in sizes.items() if side != size]
    return f" ({', '.join(listed)})" if listed else ""


def device() -> str:
    """Get the device on which the bench trains.

    Returns:
        str: ``cuda`` or ``cpu``.
    """
    return "cuda" if torch.cuda.is_available() else "cpu"


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
