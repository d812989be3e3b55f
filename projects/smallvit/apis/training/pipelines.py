"""Adapt the transforms of a config to another image size, number of channels or label map."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from smallvit.apis.training.bands import steps_of_bands
from smallvit.apis.training.models import SMALL
from smallvit.apis.training.plan import Plan

#: Arguments of transforms that are sizes in pixels.
_LENGTHS = ("scale", "crop_size")
#: Transforms that only support three channels.
_COLORS_ALONE = ("PhotoMetricDistortion",)


def pipelines(plan: Plan) -> dict[str, list] | None:
    """Adapt the transforms of the base config to a plan.

    Args:
        plan (Plan): Plan with image size, channels and base config.

    Returns:
        dict[str, list] | None: ``train_pipeline`` and ``test_pipeline``; None if those of the
        base need no changes.
    """
    train = _plain(plan.base.train_dataloader.dataset.pipeline)
    test = _plain(plan.base.val_dataloader.dataset.pipeline)
    if plan.data.form == "folder" and plan.size <= SMALL and "RandomResizedCrop" in str(train):
        train, test = _whole_images(train, test)
    fitted = {
        "train_pipeline": _fitted(plan, train, training=True),
        "test_pipeline": _fitted(plan, test, training=False),
    }
    before = {
        "train_pipeline": _plain(plan.base.train_dataloader.dataset.pipeline),
        "test_pipeline": _plain(plan.base.val_dataloader.dataset.pipeline),
    }
    return None if fitted == before else fitted


def _plain(steps: Any) -> list:
    return [{key: deepcopy(value) for key, value in step.items()} for step in steps]


def _whole_images(train: list, test: list) -> tuple[list, list]:
    """Replace random resized crops, which are too aggressive for small images, by padded crops."""
    resize = dict(type="ResizeEdge", scale=224, edge="short", interpolation="bicubic")
    crop = dict(type="RandomCrop", crop_size=224, padding=28)
    train = [
        other
        for step in train
        for other in ([resize, crop] if step["type"] == "RandomResizedCrop" else [step])
    ]
    test = [dict(resize) if step["type"] == "ResizeEdge" else step for step in test]
    return [dict(step) for step in train], test


def _fitted(plan: Plan, steps: list, training: bool) -> list:
    channels, size = plan.survey.channels, plan.size
    bands = plan.survey.bands
    if bands is not None:
        return [
            _sized(step, step["type"].rpartition(".")[2], size, training)
            for step in steps_of_bands(steps, bands, plan.survey)
        ]
    fitted = []
    for step in steps:
        kind = step["type"].rpartition(".")[2]
        if kind == "LoadImageFromFile" and channels != 3:
            step["color_type"] = "grayscale" if channels == 1 else "unchanged"
        if kind == "LoadImageFromFile" and plan.survey.white is not None:
            step["color_type"] = "unchanged"
            fitted.append(step)
            step = dict(
                type="smallvit.ToColor", max_value=plan.survey.white, channels=plan.survey.channels
            )
        if kind == "LoadAnnotations" and plan.data.label_map:
            step = dict(type="smallvit.LoadLabelMap", label_map=plan.data.label_map)
        if kind in _COLORS_ALONE and channels != 3:
            continue
        if channels != 3:
            # RandAugment processes three channels at a time, whatever the number of channels.
            for key, count in (("mean", channels), ("std", channels), ("fill", 3)):
                if key in step and isinstance(step[key], (list, tuple)):
                    step[key] = [round(sum(step[key]) / len(step[key]), 3)] * count
        fitted.append(_sized(step, kind, size, training))
    return fitted


def _sized(step: dict, kind: str, size: int, training: bool) -> dict:
    whole = 224 if kind in ("ResizeEdge", "CenterCrop", "RandomResizedCrop") else None
    for key in _LENGTHS:
        value = step.get(key)
        if isinstance(value, (list, tuple)):
            step[key] = (size, size)
        elif isinstance(value, int):
            # Test pipelines for large images crop the center: 224 of 256.
            border = kind == "ResizeEdge" and value > (whole or value)
            step[key] = round(size * value / 224) if border else size
    if "padding" in step and training:
        step["padding"] = max(1, size // 8)
    return step
