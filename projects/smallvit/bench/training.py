"""Training in the bench: complete runs, and short trials for selecting a setting."""

from __future__ import annotations

import glob
import json
import math
import os
import os.path as osp
from collections.abc import Callable, Mapping
from numbers import Real
from typing import Any

from mmengine.config import Config
from mmengine.runner import Runner

from smallvit.bench.hooks import ACCURACY as ACCURACY
from smallvit.bench.hooks import STABLE, BoxesOnly, KeepStable, Predictions, Progress
from smallvit.bench.plan import BenchSettings, Run
from smallvit.bench.recipe import TrainedTeacher, begin_from, run_config, several_labels
from smallvit.bench.results import BACKBONE, PRETRAINED, RESULT, TRIAL, WEIGHTS, keep_teacher
from smallvit.bench.stored import check_pretraining, check_result, read_or_tell
from smallvit.bench.tasks import CLASSIFICATION, DETECTION, TASKS
from smallvit.engine.checkpoint.formats import write_checkpoint
from smallvit.engine.models import load_weights
from smallvit.engine.pipeline import adapt_config, build_runner
from smallvit.engine.run_record import read_record
from smallvit.engine.stored_config import KEY
from smallvit.errors import UserError
from smallvit.utils.files import remove_quietly, write_whole

Report = Callable[[dict[str, Any]], None]
CONFIG = "config.py"
#: Validation accuracies by step.
CURVE = "curve.json"


def train(
    settings: BenchSettings,
    run: Run,
    num_classes: int,
    workers: int,
    folder: str,
    trained_teacher: TrainedTeacher | None,
    begin: str | None,
    report: Report,
) -> dict[str, Any]:
    """Train or resume a run, test its best checkpoint and save the result.

    Args:
        settings (BenchSettings): Settings of the bench.
        run (Run): Run to train. If the folder has the result of a shorter run, that run is
            extended.
        num_classes (int): Number of classes.
        workers (int): Number of data loader workers.
        folder (str): Work folder; it gets ``config.py``, ``model.pth`` (weights of the
            best checkpoint), ``predictions.json`` and ``result.json``.
        trained_teacher (TrainedTeacher | None): Teacher of a guided method.
        begin (str | None): Work folder of the pretraining, if any.
        report (Callable): Function that is called with the progress.

    Returns:
        dict: Content of ``result.json``.
    """
    runner, curve = _train(
        settings, run, num_classes, workers, folder, trained_teacher, begin, report
    )
    best = runner.message_hub.runtime_info.get("best_ckpt")
    if best is None:
        raise UserError(
            f"{folder} has no best checkpoint of this run, which was started by another version or "
            "in another folder: remove the folder to repeat the run"
        )
    kept = load_weights(runner.model, best)
    runner._has_loaded = True  # otherwise the test would load the last checkpoint
    task, predictions = TASKS[settings.task], None
    if settings.task == CLASSIFICATION and not several_labels(settings.data):
        predictions = Predictions()
        runner.register_hook(predictions, priority="VERY_LOW")
    tested = runner.test()
    if predictions is not None:
        predictions.write(folder, runner.test_dataloader.dataset)
    result = {
        "method": run.method,
        "samples": run.samples,
        "seed": run.seed,
        "accuracy": task.percent(tested),
        "metrics": _finite(tested),
        "val_accuracy": task.percent({task.metric: runner.message_hub.get_info("best_score")}),
        "iters": run.iters,
        "train_seconds": read_record(folder)["wall_seconds"],
        "params": sum(parameter.numel() for parameter in runner.model.parameters()),
        "rate": run.rate,
        "curve": curve,
    }
    if begin is not None:
        result["pretraining"] = read_pretraining(begin)
    _keep_weights(folder, kept)
    write_whole(osp.join(folder, RESULT), json.dumps(result, indent=1))
    return result


def attempt(
    settings: BenchSettings,
    run: Run,
    num_classes: int,
    workers: int,
    folder: str,
    trained_teacher: TrainedTeacher | None,
    begin: str | None,
    report: Report,
) -> dict[str, Any]:
    """Run a short training for selecting a setting on the validation images.

    The test images are not used, and no weights are saved.

    Args:
        settings (BenchSettings): Settings of the bench.
        run (Run): Run to train, with the setting to evaluate.
        num_classes (int): Number of classes.
        workers (int): Number of data loader workers.
        folder (str): Work folder; it gets ``trial.json``.
        trained_teacher (TrainedTeacher | None): Teacher of a guided method.
        begin (str | None): Work folder of the pretraining, if any.
        report (Callable): Function that is called with the progress.

    Returns:
        dict: Content of ``trial.json``: ``accuracy`` (of the last validation), ``iters`` and
        ``seconds``.
    """
    _, curve = _train(settings, run, num_classes, workers, folder, trained_teacher, begin, report)
    found = {
        "accuracy": curve[-1][1],
        "iters": run.iters,
        "seconds": read_record(folder)["wall_seconds"],
    }
    remove_states(folder)
    remove_quietly(osp.join(folder, STABLE))
    write_whole(osp.join(folder, TRIAL), json.dumps(found, indent=1))
    return found


def _train(
    settings: BenchSettings,
    run: Run,
    num_classes: int,
    workers: int,
    folder: str,
    trained_teacher: TrainedTeacher | None,
    begin: str | None,
    report: Report,
) -> tuple[Runner, list[list[float]]]:
    os.makedirs(folder, exist_ok=True)
    if trained_teacher is not None:
        keep_teacher(trained_teacher.checkpoint)
    cfg = run_config(settings, run, num_classes, workers, trained_teacher)
    if begin is not None:
        begin_from(cfg, osp.join(begin, BACKBONE))
    cfg.work_dir = folder
    readable = cfg.pretty_text
    cfg.experiment_name = run.name
    stable = osp.join(folder, STABLE)
    prolonging = _is_shorter(folder, run) and osp.isfile(stable)
    if prolonging and not osp.isfile(osp.join(folder, "last_checkpoint")):
        cfg.load_from = stable
    runner = make_runner(cfg, folder, resume=True)
    write_whole(osp.join(folder, CONFIG), readable)  # MMEngine wrote it without line breaks
    if settings.schedule == "trapezoid":
        runner.register_hook(KeepStable(folder, run.cooldown), priority="VERY_LOW")
    if settings.task == DETECTION:
        runner.register_hook(BoxesOnly(), priority="HIGH")
    progress = Progress(report, run.iters, osp.join(folder, CURVE), settings.task)
    runner.register_hook(progress, priority="VERY_LOW")
    runner.train()
    return runner, [[int(at), value] for at, value in progress.curve.items()]


def _finite(metrics: Mapping[str, Any]) -> dict[str, float]:
    """Keep the numbers that JSON can represent; classes without pixels are NaN."""
    found = {name: float(value) for name, value in metrics.items() if isinstance(value, Real)}
    return {name: value for name, value in found.items() if math.isfinite(value)}


def read_pretraining(folder: str) -> dict[str, Any] | None:
    """Read the result of a pretraining.

    Args:
        folder (str): Work folder to read.

    Returns:
        dict | None: Content of ``pretraining.json``; None if it is not finished.
    """
    path = osp.join(folder, PRETRAINED)
    found = read_or_tell(path, check_pretraining, "repeating the pretraining")
    return found if osp.isfile(osp.join(folder, BACKBONE)) else None


def _is_shorter(folder: str, run: Run) -> bool:
    result = read_or_tell(osp.join(folder, RESULT), check_result, "repeating the run")
    return result is not None and result["iters"] < run.iters


def make_runner(cfg: Config, work_dir: str, resume: bool) -> Runner:
    """Build the runner of a training in the bench.

    Args:
        cfg (Config): Config of the run, changed in place.
        work_dir (str): Work folder of the run.
        resume (bool): Whether to resume from a checkpoint in the folder.

    Returns:
        Runner: Runner, ready to train.
    """
    cfg.work_dir, cfg.resume, cfg.launcher = work_dir, resume, "none"
    adapt_config(cfg)
    # Formatting the config at each checkpoint takes longer than training steps.
    object.__setattr__(cfg, "_format_python_code", False)
    object.__setattr__(cfg, "_filename", osp.join(work_dir, CONFIG))
    return build_runner(cfg)


def _keep_weights(folder: str, checkpoint: dict) -> None:
    content = {key: checkpoint[key] for key in ("state_dict", KEY) if key in checkpoint}
    described = checkpoint["meta"].get("dataset_meta")
    write_checkpoint(osp.join(folder, WEIGHTS), {**content, "meta": {"dataset_meta": described}})
    remove_states(folder)


def remove_states(folder: str) -> None:
    """Remove the checkpoints of a finished training.

    Args:
        folder (str): Work folder to read.
    """
    for name in ("best_*.pth", "iter_*.pth", "last_checkpoint"):
        for leftover in glob.glob(osp.join(glob.escape(folder), name)):
            remove_quietly(leftover)
