"""Write the config of a pretraining run as readable, editable Python."""

from __future__ import annotations

import os
from typing import Any

from smallvit.apis.pretraining.plan import PretrainingPlan
from smallvit.apis.training.bands import normalization
from smallvit.apis.training.config_text import Name, as_text
from smallvit.apis.training.writing import replace_unedited

BASES = [
    "smallvit::_base_/datasets/unlabeled.py",
    "smallvit::_base_/schedules/pretrain_adamw_400e.py",
    "smallvit::_base_/default_runtime.py",
]


def write_pretraining(plan: PretrainingPlan, work_dir: str, command: str) -> str:
    """Write the config of a pretraining run to its work directory, replacing an unedited one.

    Args:
        plan (PretrainingPlan): Settings to write.
        work_dir (str): Work directory of the run.
        command (str): Command that generates the config, for its first line.

    Returns:
        str: Path of the config.

    Raises:
        UserError: If an existing config was edited.
    """
    settings = _settings(plan, work_dir)
    lines = [
        f"# Written by: smallvit pretrain {command}",
        "# You may edit this file and train it with tools/train.py or smallvit train.",
        as_text("_base_", BASES),
        "",
    ]
    comments = {
        "data_root": f"{len(plan.images.paths)} images without labels.",
        "train_pipeline": f"Crops of {plan.size} pixels, {plan.survey.note}.",
        "model": f"{plan.made.note}.",
    }
    for key, value in settings.items():
        lines += [f"# {comments[key]}"] if key in comments else []
        lines += [as_text(key, value), ""]
    os.makedirs(work_dir, exist_ok=True)
    return replace_unedited("\n".join(lines), work_dir)


def _settings(plan: PretrainingPlan, work_dir: str) -> dict[str, Any]:
    load = _loading(plan)
    warmup = min(40, max(1, plan.epochs // 10))
    dataset = {**plan.images.dataset(), "data_root": Name("data_root")}
    workers = min(4, os.cpu_count() or 1)
    monitor = dict(
        type="smallvit.PretrainingMonitor",
        dataset=Name("seen"),
        interval=plan.interval,
        labels_by_folder=plan.images.has_classes,
    )
    settings: dict[str, Any] = {
        "work_dir": work_dir,
        "data_root": plan.images.root,
        "train_pipeline": [*load, *plan.made.pipeline, _PACK],
        "train_dataloader": dict(
            batch_size=plan.batch_size,
            num_workers=workers,
            dataset={**dataset, "pipeline": Name("train_pipeline")},
        ),
        # Features are measured on whole images.
        "seen": dict(
            dataset,
            pipeline=[*load, dict(type="Resize", scale=(plan.size, plan.size)), _PACK],
        ),
        "model": plan.made.model,
    }
    channels = plan.survey.channels
    normalized: dict[str, Any] = {}
    if plan.survey.bands is not None:
        normalized = normalization(plan.survey)
    elif channels != 3:
        normalized = dict(mean=[115.0] * channels, std=[57.4] * channels, to_rgb=False)
    if channels not in (1, 3):
        normalized = dict(type="smallvit.SelfSupDataPreprocessor", **normalized)
    if normalized:
        settings["data_preprocessor"] = normalized
    settings |= {
        "optim_wrapper": dict(optimizer=dict(lr=plan.lr)),
        "auto_scale_lr": dict(base_batch_size=plan.batch_size),
        "param_scheduler": [
            dict(type="LinearLR", start_factor=0.01, end=warmup, convert_to_iter_based=True),
            dict(
                type="CosineAnnealingLR",
                begin=warmup,
                end=max(plan.epochs, warmup + 1),
                eta_min=0.0,
                convert_to_iter_based=True,
            ),
        ],
        "train_cfg": dict(max_epochs=plan.epochs),
        "default_hooks": dict(
            checkpoint=dict(interval=plan.interval, save_best=None),
            logger=dict(interval=max(1, min(50, plan.steps // 4))),
        ),
        "custom_hooks": [monitor],
    }
    if plan.method == "masked":
        # Layers after the last block of the backbone, such as a norm, receive no gradient.
        settings["find_unused_parameters"] = True
    if plan.seed is not None:
        settings["randomness"] = dict(seed=plan.seed)
    return settings


def _loading(plan: PretrainingPlan) -> list[dict[str, Any]]:
    """Read images as the training with labels does, so that both see the same values."""
    survey = plan.survey
    if survey.bands is not None:
        return [survey.bands.step()]
    load: dict[str, Any] = dict(type="LoadImageFromFile")
    if survey.white is not None:
        scale = dict(type="smallvit.ToColor", max_value=survey.white, channels=survey.channels)
        return [load | {"color_type": "unchanged"}, scale]
    if survey.channels != 3:
        load["color_type"] = "grayscale" if survey.channels == 1 else "unchanged"
    return [load]


_PACK = dict(type="PackInputs")
