"""Self-supervised pretraining of runs with ``+masked``, ``+instance`` or ``+views``."""

from __future__ import annotations

import json
import os
import os.path as osp
import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner

from smallvit.analysis.training_steps import take_turns, training_steps
from smallvit.apis.pretraining.methods import METHODS, Made, build_network
from smallvit.apis.pretraining.plan import BASE_BATCH, RATE
from smallvit.bench.hooks import Progress
from smallvit.bench.methods import parse_method
from smallvit.bench.recipe import DIGITS, run_config
from smallvit.bench.results import BACKBONE, PRETRAINED
from smallvit.bench.settings import BenchSettings, Run
from smallvit.bench.training import (
    CONFIG,
    CURVE,
    Report,
    make_runner,
    remove_states,
)
from smallvit.engine.checkpoint.formats import write_checkpoint
from smallvit.engine.models import build_model
from smallvit.engine.run_record import read_record
from smallvit.plugins.self_supervision import PretrainingMonitor
from smallvit.utils.configs import walk
from smallvit.utils.files import write_whole

#: Number of alternating steps of pretraining and training that are timed.
TURNS = 5


def pretraining_config(
    settings: BenchSettings, run: Run, num_classes: int, workers: int = 0
) -> tuple[Config, Made]:
    """Build the config of a pretraining.

    Args:
        settings (BenchSettings): Settings of the bench.
        run (Run): Run that uses the pretrained weights.
        num_classes (int): Number of classes.
        workers (int): Number of data loader workers. Defaults to 0.

    Returns:
        tuple[Config, Made]: Config, which ``tools/train.py`` accepts too, and the model and
        pipeline that the pretraining method builds for the backbone.

    Raises:
        HostError, UserError: If the method does not support this backbone.
    """
    cfg = run_config(settings, run, num_classes, workers)
    init_default_scope(cfg.default_scope)
    images = _images(cfg, settings)
    network = build_network(
        cfg.model.backbone.to_dict(), settings.image_size, 3, len(DATASETS.build(images))
    )
    made = METHODS[parse_method(run.method).pretraining](network)
    initialization = cfg.model.get("init_cfg")
    cfg.model = ConfigDict(made.model)
    if initialization:
        cfg.model.init_cfg = initialization
    colors = {key: cfg.data_preprocessor[key] for key in ("mean", "std", "to_rgb")}
    cfg.data_preprocessor = ConfigDict(type="SelfSupDataPreprocessor", **colors)
    steps = ConfigDict(pipeline=[*_loading(cfg), *made.pipeline, dict(type="PackInputs")])
    if not settings.flip:
        _drop_flips(steps)
    loader = cfg.train_dataloader
    loader.dataset = ConfigDict(images, pipeline=steps.pipeline)
    loader.collate_fn = dict(type="default_collate")
    _set_course(cfg, run.pretraining)
    return cfg, made


def _images(cfg: Config, settings: BenchSettings) -> dict[str, Any]:
    datasets, without = [_bare(cfg.train_dataloader.dataset)], []
    if settings.unlabeled:
        datasets.append(dict(type="smallvit.UnlabeledImages", data_root=settings.unlabeled))
        without = [_bare(cfg[f"{split}_dataloader"].dataset) for split in ("val", "test")]
    return dict(type="smallvit.WithoutLabels", datasets=datasets, without=without)


def _bare(dataset: ConfigDict) -> dict:
    """Copy the config of a dataset without its transforms."""
    found = dataset.to_dict()
    inner = found
    while "dataset" in inner:
        inner = inner["dataset"]
    inner.pop("pipeline", None)
    return found


def _loading(cfg: Config) -> list:
    dataset = cfg.train_dataloader.dataset
    while "dataset" in dataset:
        dataset = dataset.dataset
    return [step for step in dataset.pipeline if "Load" in step.type]


def _drop_flips(steps: ConfigDict) -> None:
    for _, node in list(walk(steps)):
        if isinstance(node, list):
            node[:] = [
                each
                for each in node
                if not (isinstance(each, dict) and each.get("type") == "RandomFlip")
            ]


def _set_course(cfg: Config, iters: int) -> None:
    for split in ("val", "test"):
        for part in ("dataloader", "evaluator", "cfg"):
            cfg[f"{split}_{part}"] = None
    warmup = max(1, iters // 10)
    cfg.train_cfg = dict(by_epoch=False, max_iters=iters)
    cfg.param_scheduler = [
        dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=warmup),
        dict(
            type="CosineAnnealingLR",
            eta_min=0.0,
            by_epoch=False,
            begin=warmup,
            end=max(iters, warmup + 1),
        ),
    ]
    cfg.optim_wrapper.optimizer.update(lr=RATE, betas=(0.9, 0.95))
    cfg.auto_scale_lr = dict(enable=True, base_batch_size=BASE_BATCH)
    interval = max(1, iters // 10)
    cfg.default_hooks.checkpoint.update(interval=interval, save_best=None, max_keep_ckpts=1)
    cfg.default_hooks.logger.interval = max(1, iters // 50)


def pretrain(
    settings: BenchSettings, run: Run, num_classes: int, workers: int, folder: str, report: Report
) -> dict[str, Any]:
    """Pretrain the backbone of a run, resuming if possible, and save its weights.

    Args:
        settings (BenchSettings): Settings of the bench.
        run (Run): Run that uses the pretrained weights.
        num_classes (int): Number of classes.
        workers (int): Number of data loader workers.
        folder (str): Work folder; it gets ``config.py``, ``backbone.pth`` and
            ``pretraining.json``.
        report (Callable): Function that is called with the progress.

    Returns:
        dict: Content of ``pretraining.json``, and ``said``, a short message.
    """
    os.makedirs(folder, exist_ok=True)
    cfg, made = pretraining_config(settings, run, num_classes, workers)
    cfg.work_dir = folder
    readable = cfg.pretty_text
    cfg.experiment_name = f"{run.name}, pretraining"
    runner = make_runner(cfg, folder, resume=True)
    write_whole(osp.join(folder, CONFIG), readable)
    progress = Progress(report, run.pretraining, osp.join(folder, CURVE))
    runner.register_hook(progress, priority="VERY_LOW")
    runner.train()
    found = {
        "method": parse_method(run.method).pretraining,
        "note": made.note,
        "images": len(runner.train_dataloader.dataset),
        "iters": run.pretraining,
        "seconds": read_record(folder)["wall_seconds"],
        "features": _look(cfg, settings, runner),
    }
    _keep_backbone(folder, runner)
    remove_states(folder)
    write_whole(osp.join(folder, PRETRAINED), json.dumps(found, indent=1))
    return {**found, "said": f"{found['iters']} steps on {found['images']} images"}


def _look(cfg: Config, settings: BenchSettings, runner: Runner) -> dict[str, float]:
    """Measure rank and spread of the features and, if folders are classes, k-NN accuracy."""
    side = settings.image_size
    steps = [step for step in cfg.train_dataloader.dataset.pipeline if "Load" in step.type]
    steps += [dict(type="Resize", scale=(side, side)), dict(type="PackInputs")]
    seen = dict(cfg.train_dataloader.dataset, pipeline=steps, without=[])
    seen["datasets"] = seen["datasets"][:1]
    monitor = PretrainingMonitor(seen, labels_by_folder=settings.data != DIGITS)
    found = monitor.measure(runner.model)
    return {name.rpartition("/")[2]: value for name, value in found.items()}


def _keep_backbone(folder: str, runner: Runner) -> None:
    state = {
        f"backbone.{name}": value for name, value in runner.model.backbone.state_dict().items()
    }
    write_checkpoint(osp.join(folder, BACKBONE), {"state_dict": state, "meta": {}})


def pace(
    settings: BenchSettings, run: Run, num_classes: int, workers: int, report: Report
) -> dict[str, float]:
    """Check that a method can be initialized, and measure the steps of its pretraining.

    Args:
        settings (BenchSettings): Settings of the bench.
        run (Run): Method, subset and seed.
        num_classes (int): Number of classes.
        workers (int): Number of data loader workers.
        report (Callable): Unused.

    Returns:
        dict: Fields of :class:`smallvit.bench.settings.Pace`; empty without a pretraining.

    Raises:
        UserError: If it cannot be initialized or pretrained; the message contains the reason.
    """
    method = parse_method(run.method)
    training = run_config(settings, run, num_classes, workers)
    init_default_scope(training.default_scope)
    if method.initialization:
        build_model(training).init_weights()
    if method.pretraining is None:
        return {}
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="smallvit-trial-") as folder:
        cfg, _ = pretraining_config(settings, run, num_classes, workers)
        both = {
            "pretraining": _steps(cfg, osp.join(folder, "pretraining")),
            "training": _steps(training, osp.join(folder, "training")),
        }
        next(both["pretraining"])  # the first step allocates memory and counts as setup
        setup = time.monotonic() - began
        next(both["training"])
        rounds = take_turns(both, TURNS)
        for steps in both.values():
            steps.close()
    medians = {name: statistics.median(each[name].wall for each in rounds) for name in both}
    return dict(setup=setup, step=medians["pretraining"], training=medians["training"])


def _steps(cfg: Config, folder: str) -> Iterator[None]:
    cfg.param_scheduler = []
    return training_steps(cfg, folder)
