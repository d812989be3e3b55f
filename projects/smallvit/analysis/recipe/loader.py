"""Data loading in a recipe: batch size, processes, iterations per epoch, weight averaging."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from smallvit.analysis.recipe.schedule import training_length
from smallvit.datasets.in_memory.settings import kind_of, outside_memory
from smallvit.errors import SmallvitError

#: Number of training images of published datasets, which are needed to count iterations even if
#: the files are not available. A value is a number, or numbers by the value of a setting that
#: selects a subset. COCO is counted without images that have no objects.
TRAINING_IMAGES: dict[str, Any] = {
    "CIFAR10": 50_000,
    "CIFAR100": 50_000,
    "ImageNet": 1_281_167,
    "TinyImageNet": 100_000,
    "Chaoyang": 4_021,
    "Flowers102": ("split", {"train": 1_020, "trainval": 2_040}),
    "DomainNet": (
        "domain",
        {
            "clipart": 33_525,
            "infograph": 36_023,
            "painting": 50_416,
            "quickdraw": 120_750,
            "real": 120_906,
            "sketch": 48_212,
        },
    ),
    "INaturalist": ("year", {2018: 437_513, 2019: 265_213}),
    "CocoDataset": ("ann_file", {"annotations/instances_train2017.json": 117_266}),
    "ADE20KDataset": 20_210,
}
#: Infinite samplers, which have no epochs.
ENDLESS = ("InfiniteSampler",)


def count_images(cfg: Config) -> int | None:
    """Number of training images of a config: the published number, or the number of files.

    Args:
        cfg (Config): Training config.

    Returns:
        int | None: Number of images; None if the dataset is neither known nor available.
    """
    dataset = cfg.train_dataloader.dataset
    known = TRAINING_IMAGES.get(_short(kind_of(dataset)))
    if isinstance(known, tuple):
        setting, numbers = known
        known = numbers.get(dataset.get(setting))
    if known is not None:
        return known
    try:
        with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine"):
            return len(DATASETS.build(_without_pipeline(dataset)))
    except (OSError, ValueError, RuntimeError, SmallvitError):
        return None


def _without_pipeline(dataset: Mapping) -> dict[str, Any]:
    """Remove the pipelines of a dataset whose images are counted but not loaded."""
    found = outside_memory(dataset)
    if "pipeline" in found:
        found["pipeline"] = []
    if isinstance(found.get("dataset"), Mapping):
        found["dataset"] = _without_pipeline(found["dataset"])
    return found


def count_processes(cfg: Config) -> int:
    """Number of processes for which a config is written.

    Args:
        cfg (Config): Training config.

    Returns:
        int: Base batch size of its learning rate divided by the batch size per process.
    """
    batch_size = cfg.train_dataloader.batch_size
    total = (cfg.get("auto_scale_lr") or {}).get("base_batch_size", batch_size)
    return max(round(total / batch_size), 1)


def count_iterations(cfg: Config, images: int | None) -> int | None:
    """Count the iterations per epoch for the number of processes of a config.

    Args:
        cfg (Config): Training config.
        images (int, optional): Number of training images.

    Returns:
        int | None: Iterations per epoch; None if training does not count epochs.
    """
    loader = cfg.train_dataloader
    if not training_length(cfg)[0] or images is None or _short(loader.sampler.type) in ENDLESS:
        return None
    share = math.ceil(images / count_processes(cfg))
    return (math.floor if loader.get("drop_last") else math.ceil)(share / loader.batch_size)


def describe_loader(cfg: Config, images: int | None) -> dict[str, Any]:
    """Describe the data loading of a config.

    Args:
        cfg (Config): Training config.
        images (int, optional): Number of training images.

    Returns:
        dict: Numbers and settings for a report.
    """
    loader = cfg.train_dataloader
    by_epoch, length = training_length(cfg)
    sampler = dict(loader.sampler)
    name = _short(sampler.pop("type"))
    repeats = sampler.get("num_repeats", 3) if name == "RepeatAugSampler" else 1
    return {
        "training": f"{length} {'epochs' if by_epoch else 'iterations'}",
        "images": images,
        "batch size per process": loader.batch_size,
        "processes": count_processes(cfg),
        "images per step": loader.batch_size * count_processes(cfg),
        "iterations per epoch": count_iterations(cfg, images),
        "last partial batch": "dropped" if loader.get("drop_last") else "kept",
        "sampler": name,
        "repeats per image": repeats,
        "cudnn.benchmark": bool((cfg.get("env_cfg") or {}).get("cudnn_benchmark", False)),
    }


def describe_averaging(cfg: Config) -> dict[str, Any]:
    """Describe the moving average of the weights, if there is one.

    Args:
        cfg (Config): Training config.

    Returns:
        dict: Decay, and whether validation and testing use the averaged weights.
    """
    for hook in cfg.get("custom_hooks") or []:
        if "EMAHook" in hook["type"]:
            decay = 1 - hook.get("momentum", 0.0002)
            return {"decay": decay, "evaluated": hook.get("evaluate", hook["type"] == "EMAHook")}
    return {"decay": None}


def describe_guidance(cfg: Config) -> dict[str, Any]:
    """Describe the guidance by a teacher, if there is one.

    Args:
        cfg (Config): Training config.

    Returns:
        dict: Settings of the guidance; empty if there is none.
    """
    return _plain(cfg.model.get("guidance") or {})


def describe_step(cfg: Config) -> dict[str, Any]:
    """Describe the optimization step after the backward pass.

    Args:
        cfg (Config): Training config.

    Returns:
        dict: Optimizer, precision, gradient clipping and accumulation.
    """
    wrapper = cfg.optim_wrapper
    optimizer = {key: _plain(value) for key, value in wrapper.optimizer.items()}
    return {
        "optimizer": optimizer,
        "precision": _precision(wrapper),
        "clipping": _plain(wrapper.get("clip_grad")),
        "gradient accumulation steps": wrapper.get("accumulative_counts", 1),
    }


def _precision(wrapper: Mapping) -> str:
    kind = _short(wrapper.get("type", "OptimWrapper"))
    if kind == "AutocastOptimWrapper":
        return str(wrapper.get("dtype", "bfloat16"))
    if kind == "AmpOptimWrapper":
        return str(wrapper.get("dtype") or "float16")
    return "float32"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(child) for key, child in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(child) for child in value]
    return value


def _short(name: Any) -> str:
    return getattr(name, "__name__", str(name)).split(".")[-1]
