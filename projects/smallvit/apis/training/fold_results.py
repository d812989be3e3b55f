"""What a fold comes to: its last state, measured on the images that it was not trained on."""

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

#: What is kept of each class.
OF_CLASSES = ("count", "recall", "precision", "f1", "iou")


def is_trained(folder: str) -> bool:
    """Tell whether the training of a fold has come to its end.

    Args:
        folder (str): Its work folder.

    Returns:
        bool: Whether its record says so.
    """
    return read_record(folder).get("status") == "finished"


def measure(config: str, folder: str, overrides: Mapping[str, Any] | None) -> dict[str, Any]:
    """Measure the last state of a fold on the images that validate, and write what was found.

    The folder gets ``predictions.json`` (``.npz`` of label maps), ``curves.png`` and, last,
    ``result.json``.

    Args:
        config (str): The config of the fold.
        folder (str): Its work folder.
        overrides (Mapping, optional): Dotted keys and values of ``--cfg-options``.

    Returns:
        dict: ``metrics``, ``classes`` and what was ``counted`` of them, ``best`` (of the epoch that
        validated best), ``images``, ``checkpoint`` and ``predictions``.

    Raises:
        UserError: If there is no checkpoint.
    """
    checkpoint = newest_whole_checkpoint(folder)
    if checkpoint is None:
        raise UserError(f"{folder} has no checkpoint to measure: keep default_hooks.checkpoint")
    request = Request(
        config,
        needs=("model", "val_dataloader", "val_evaluator"),
        purpose="measuring a fold",
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
    # The logs of the training are joined to its curves.
    cfg.work_dir = osp.join(folder, "measured")
    cfg.experiment_name = osp.abspath(cfg.work_dir)
    if cfg.get("visualizer") is not None:
        cfg.visualizer.name = cfg.experiment_name


def _number(name: str, value: Any) -> float | None:
    """A metric; None where there was nothing to measure."""
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
    """Read which epoch of a training validated best.

    Args:
        folder (str): The work folder.
        metrics (Mapping): Names of metrics.

    Returns:
        dict | None: ``metric``, ``value`` and ``checkpoint``; None where no best state is kept.
    """
    best = read_record(folder).get("best") or {}
    checkpoint = osp.basename(str(best.get("best_ckpt") or ""))
    # The name of the file has the metric, with other characters.
    names = [name for name in metrics if f"best_{name.replace('/', '_')}_" in checkpoint]
    if not names or not isinstance(best.get("best_score"), (int, float)):
        return None
    return {"metric": names[0], "value": best["best_score"], "checkpoint": checkpoint}
