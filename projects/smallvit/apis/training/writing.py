"""Write the config of a plan as readable, editable Python."""

from __future__ import annotations

import hashlib
import os
import os.path as osp
from typing import Any

from mmengine.config import Config

from smallvit.apis.training.bands import normalization
from smallvit.apis.training.config_text import Name, as_text
from smallvit.apis.training.pipelines import pipelines
from smallvit.apis.training.plan import Plan
from smallvit.errors import UserError
from smallvit.utils.files import write_whole

SPLITS = ("train", "val", "test")
HEAD = "# Written by: smallvit train"
_SIGN = "# As written: "


def write_config(plan: Plan, work_dir: str, command: str) -> str:
    """Write the config of a plan to the work directory, replacing an unedited one.

    Args:
        plan (Plan): Settings to write.
        work_dir (str): Work directory of the run.
        command (str): Command that generates the config, for its first line.

    Returns:
        str: Path of the config.

    Raises:
        UserError: If an existing config was edited.
    """
    return replace_unedited(config_text(plan, work_dir, command), work_dir)


def replace_unedited(text: str, work_dir: str) -> str:
    """Write a config to its work directory, replacing an unedited one.

    Args:
        text (str): Text of the config.
        work_dir (str): Work directory of the run.

    Returns:
        str: Path of the config.

    Raises:
        UserError: If an existing config was edited.
    """
    path = osp.join(work_dir, f"{osp.basename(osp.normpath(work_dir))}.py")
    if osp.exists(path) and not _is_unedited(path):
        raise UserError(
            f"{path} was edited and would be overwritten. Train it as it is (smallvit train "
            f"{path}), or choose another folder with --work-dir"
        )
    os.makedirs(work_dir, exist_ok=True)
    write_whole(path, f"{text}\n{_SIGN}{_digest(text)}\n")
    return path


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _is_unedited(path: str) -> bool:
    with open(path, encoding="utf-8") as file:
        text, _, sign = file.read().rpartition(f"\n{_SIGN}")
    return _digest(text) == sign.strip()


def config_text(plan: Plan, work_dir: str, command: str) -> str:
    """Format a plan as a config.

    Args:
        plan (Plan): Settings to format.
        work_dir (str): Work directory of the run.
        command (str): Command that generates the config.

    Returns:
        str: Python source of an MMEngine config.
    """
    settings = settings_of(plan, work_dir)
    comments = {
        "data_root": f"{plan.data.layout}, {plan.data.images['train']} training images",
        "train_pipeline": f"Images of {plan.size} pixels, {plan.survey.note}.",
        "optim_wrapper": _say_rate(plan),
        "train_cfg": f"{plan.steps} steps per epoch.",
        "model": plan.chosen.note or None,
    }
    lines = [
        f"{HEAD} {command}",
        "# You may edit this file and train it with tools/train.py or smallvit train.",
    ]
    lines += [f'_base_ = "{plan.chosen.base}"', ""]
    for key, value in settings.items():
        if comments.get(key):
            lines.append(f"# {comments[key]}")
        lines += [as_text(key, value), ""]
    return "\n".join(lines)


def _say_rate(plan: Plan) -> str:
    base = plan.base
    if plan.wishes.lr is not None:
        return "The requested learning rate."
    rate, images = base.optim_wrapper.optimizer.lr, base.auto_scale_lr.base_batch_size
    return f"{rate:g} for {images} images per step, scaled to {plan.batch_size}."


def settings_of(plan: Plan, work_dir: str) -> dict[str, Any]:
    """Collect the settings of a plan that override the base config.

    Args:
        plan (Plan): Plan with the base config.
        work_dir (str): Work directory of the run.

    Returns:
        dict[str, Any]: Top-level keys and values, in the order of the file.
    """
    data, steps = plan.data, pipelines(plan)
    settings: dict[str, Any] = {"work_dir": work_dir, "data_root": data.root}
    # The classes of a table are fixed when the config is written.
    settings["fit_to_folder"] = None if data.table else {"data_root": Name("data_root")}
    if data.form != "folder" or data.table:
        settings["classes"] = data.classes
    settings.update(steps or {})
    for split in SPLITS:
        settings[f"{split}_dataloader"] = _loader(plan, split, steps is not None)
    settings.update(_evaluators(plan))
    settings["model"] = _model(plan)
    preprocessor = _preprocessor(plan)
    if data.form == "folder":
        settings["data_preprocessor"] = preprocessor
    elif preprocessor:
        settings["model"].setdefault("data_preprocessor", {}).update(preprocessor)
    settings["optim_wrapper"] = {"optimizer": {"lr": plan.lr}}
    # The rate is already scaled to this batch size: --auto-scale-lr must not scale it again.
    settings["auto_scale_lr"] = {"base_batch_size": plan.batch_size}
    warmup = max(1, min(plan.base.param_scheduler.warmup, plan.epochs // 10))
    if warmup < plan.epochs:
        settings["param_scheduler"] = {"warmup": warmup}
    else:
        settings["param_scheduler"] = {"warmup": 0}
    settings["train_cfg"] = {"max_epochs": plan.epochs, "val_interval": plan.val_interval}
    settings["default_hooks"] = {
        "checkpoint": {"interval": plan.val_interval},
        "logger": {"interval": max(1, min(50, plan.steps // 4))},
    }
    settings.update(_hooks(plan, steps is not None))
    if plan.wishes.seed is not None:
        settings["randomness"] = {"seed": plan.wishes.seed}
    return {key: value for key, value in settings.items() if value != {}}


def _loader(plan: Plan, split: str, with_pipeline: bool) -> dict:
    data = plan.data
    dataset: dict[str, Any] = {"data_root": Name("data_root"), **data.datasets.get(split, {})}
    if data.table:
        dataset["classes"] = Name("classes")
    elif data.form != "folder":
        dataset["metainfo"] = {"classes": Name("classes")}
    if with_pipeline:
        dataset["pipeline"] = Name("train_pipeline" if split == "train" else "test_pipeline")
    workers: dict[str, Any] = {"num_workers": plan.workers, "persistent_workers": True}
    batch = {"batch_size": plan.batch_size} if split == "train" else {}
    # A last batch of one image has no statistics for norms after a global pooling, which
    # detectors do not have.
    pools = split == "train" and data.form in ("folder", "custom-masks")
    lone = pools and data.images["train"] % plan.batch_size == 1
    last = {"drop_last": True} if lone and data.images["train"] > plan.batch_size else {}
    if plan.wishes.in_memory:
        kind = plan.base[f"{split}_dataloader"].dataset.type
        dataset = {"type": "smallvit.InMemory", "of": kind, **dataset}
        workers = {
            "num_workers": 0,
            "persistent_workers": False,
            "collate_fn": {"type": "smallvit.collate_in_memory"},
        }
    return {**batch, **workers, **last, "dataset": dataset}


def _hooks(plan: Plan, with_pipeline: bool) -> dict:
    """Set the calibration data of a cascade, and the hook that freezes the backbone."""
    settings: dict[str, Any] = {}
    if plan.base.get("calibration_dataloader") is not None:
        dataset = {"data_root": Name("data_root"), **plan.data.datasets.get("train", {})}
        if with_pipeline:
            dataset["pipeline"] = Name("test_pipeline")
        settings["calibration_dataloader"] = {"dataset": dataset}
    if plan.wishes.freeze:
        freeze = {"type": "smallvit.FreezeHook", "modules": ["backbone"]}
        hooks = Config({"hooks": plan.base.get("custom_hooks") or []}).to_dict()["hooks"]
        settings["custom_hooks"] = [*hooks, freeze]
    return settings


def _evaluators(plan: Plan) -> dict:
    if plan.data.several:
        metrics = [
            {"type": "AveragePrecision"},
            {"type": "MultiLabelMetric", "average": "macro"},
            {"type": "smallvit.LabelThresholds"},
        ]
        return {f"{split}_evaluator": metrics for split in ("val", "test")}
    if plan.data.table:
        topk = tuple(k for k in (1, 5) if k == 1 or k < len(plan.data.classes))
        return {f"{split}_evaluator": {"topk": topk} for split in ("val", "test")}
    if plan.data.form not in ("custom-coco", "custom-boxes"):
        return {}
    settings = {}
    for split in ("val", "test"):
        file = osp.join(plan.data.root, plan.data.datasets[split]["ann_file"])
        settings[f"{split}_evaluator"] = {"ann_file": file}
    return settings


def _preprocessor(plan: Plan) -> dict:
    channels, form = plan.survey.channels, plan.data.form
    settings: dict[str, Any] = {}
    if plan.wishes.in_memory:
        settings["type"] = "smallvit.AugmentingPreprocessor"
    if plan.data.table:
        settings["num_classes"] = len(plan.data.classes)
    if form == "custom-masks":
        settings["size"] = (plan.size, plan.size)
    if plan.survey.bands is not None:
        return {**settings, **normalization(plan.survey)}
    if channels == 3:
        return settings
    base = plan.base.get("data_preprocessor") or plan.base.model.data_preprocessor
    for key in ("mean", "std"):
        values = base[key]
        settings[key] = [round(sum(values) / len(values), 3)] * channels
    settings["to_rgb" if form == "folder" else "bgr_to_rgb"] = False
    return settings


def _model(plan: Plan) -> dict:
    from smallvit.apis.training.networks import model_settings

    return model_settings(plan)
