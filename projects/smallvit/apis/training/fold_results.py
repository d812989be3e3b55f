"""Evaluation of a fold on its held-out images, with the last checkpoint."""

from __future__ import annotations

import json
import os.path as osp
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from mmengine.config import Config

from smallvit.analysis.confusion import confusion
from smallvit.analysis.curves import choose_keys, draw_runs
from smallvit.analysis.figures import save_figure
from smallvit.analysis.logs import PRECISION, read_run
from smallvit.apis.training.folds import RESULT
from smallvit.compat.strict_loading import load_strictly
from smallvit.engine.checkpoint.newest import newest_whole_checkpoint
from smallvit.engine.pipeline import Request, check_spelling, override, take_steps
from smallvit.engine.prediction_dump import DumpPredictions
from smallvit.engine.predictions import SEGMENTATION, SUFFIXES, read_predictions
from smallvit.engine.run_record import plain_number, read_record
from smallvit.errors import UserError
from smallvit.utils.files import write_whole

#: Metrics that are stored for each class.
OF_CLASSES = ("count", "recall", "precision", "f1", "iou")


def is_trained(folder: str) -> bool:
    """Check whether the training of a fold is finished.

    Args:
        folder (str): Work folder of the fold.

    Returns:
        bool: Whether its run record has the status "finished".
    """
    return read_record(folder).get("status") == "finished"


def measure(config: str, folder: str, overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    """Evaluate the last checkpoint of a fold on its validation images and write the results.

    Writes ``predictions.json`` (``.npz`` for label maps), ``curves.png`` and, last,
    ``result.json`` to the folder.

    Args:
        config (str): Config file of the fold.
        folder (str): Work folder of the fold.
        overrides (Mapping, optional): Dotted keys and values of ``--cfg-options``.

    Returns:
        dict: ``metrics``, ``classes``, the unit that they ``counted``, ``best`` (the metric of the
        best epoch), ``images``, ``checkpoint`` and ``predictions``.

    Raises:
        UserError: If there is no checkpoint.
    """
    checkpoint = newest_whole_checkpoint(folder)
    if checkpoint is None:
        raise UserError(
            f"{folder} has no checkpoint to evaluate. Keep default_hooks.checkpoint in the config"
        )
    request = Request(
        config,
        needs=("model", "val_dataloader", "val_evaluator"),
        purpose="the evaluation of a fold",
        overrides=dict(overrides or {}),
        checkpoint=checkpoint,
    )
    take_steps(request, last=override)
    _test_on_val(request.cfg, folder, checkpoint)
    runner: Any = take_steps(request, first=check_spelling).runner
    load_strictly(runner)
    suffix = SUFFIXES[SEGMENTATION] if runner.cfg.default_scope == "mmseg" else ".json"
    predictions = osp.join(folder, f"predictions{suffix}")
    runner.test_evaluator.metrics.append(
        DumpPredictions(predictions, runner.test_dataloader.dataset)
    )
    metrics = {name: _number(name, value) for name, value in runner.test().items()}
    _draw(folder)
    result = {
        "metrics": {name: value for name, value in metrics.items() if value is not None},
        **_of_classes(runner.cfg, predictions),
        "best": best_of(folder, metrics),
        "images": len(runner.test_dataloader.dataset),
        "checkpoint": osp.basename(checkpoint),
        "predictions": osp.basename(predictions),
    }
    write_whole(osp.join(folder, RESULT), json.dumps(result, indent=2))
    return result


def _test_on_val(cfg: Config, folder: str, checkpoint: str) -> None:
    cfg.test_dataloader = deepcopy(cfg.val_dataloader)
    cfg.test_evaluator = deepcopy(cfg.val_evaluator)
    cfg.test_cfg = cfg.get("test_cfg") or {}
    cfg.launcher = "none"
    cfg.load_from, cfg.resume = checkpoint, False
    # A separate folder, because the curves are drawn from all logs in the training's folder.
    cfg.work_dir = osp.join(folder, "measured")
    cfg.experiment_name = osp.abspath(cfg.work_dir)
    if cfg.get("visualizer") is not None:
        cfg.visualizer.name = cfg.experiment_name


def _number(name: str, value: Any) -> float | None:
    """Convert a metric to a number, or None if there was nothing to evaluate."""
    found = plain_number(value)
    if not isinstance(found, (int, float)) or (found == -1 and PRECISION.search(name)):
        return None
    return found


def _draw(folder: str) -> None:
    runs = {osp.basename(folder): read_run(folder)}
    save_figure(draw_runs(runs, choose_keys(runs, None)), osp.join(folder, "curves.png"))


def _of_classes(cfg: Config, predictions: str) -> dict[str, Any]:
    found = confusion(cfg, read_predictions(predictions), predictions)
    rows = {row["class"]: {key: row[key] for key in OF_CLASSES} for row in found.rows()}
    limits = "" if found.kinds is None else " with a score from 0.3, found at IoU 0.5"
    return {"classes": rows, "counted": f"{found.unit}{limits}"}


def best_of(folder: str, metrics: Mapping[str, Any]) -> dict[str, Any] | None:
    """Read the best validation result of a training run.

    Args:
        folder (str): Work folder of the run.
        metrics (Mapping): Metrics by name, of which the best checkpoint was chosen by one.

    Returns:
        dict | None: ``metric``, ``value`` and ``checkpoint``; None if no best checkpoint is kept.
    """
    best = read_record(folder).get("best") or {}
    checkpoint = osp.basename(str(best.get("best_ckpt") or ""))
    # MMEngine puts the metric into the file name and replaces the slash.
    names = [name for name in metrics if f"best_{name.replace('/', '_')}_" in checkpoint]
    if not names or not isinstance(best.get("best_score"), (int, float)):
        return None
    return {"metric": names[0], "value": best["best_score"], "checkpoint": checkpoint}
