"""Detection and segmentation in the bench: mini networks trained with the recipe for user data."""

from __future__ import annotations

import hashlib
import os
import os.path as osp
import tempfile
from collections.abc import Callable
from typing import Any

from mmengine.config import Config

from smallvit.apis.training import Wishes, make_plan
from smallvit.apis.training.plan import image_size
from smallvit.apis.training.writing import config_text
from smallvit.bench.methods import parse_method
from smallvit.bench.settings import BenchSettings, Run
from smallvit.bench.sizes import set_width
from smallvit.bench.tasks import DETECTION, SEGMENTATION, TASKS, config_name
from smallvit.datasets.recognition import recognize
from smallvit.datasets.recognition.own_data import OwnData
from smallvit.datasets.recognition.survey import look_at
from smallvit.engine.config_files import read_config
from smallvit.errors import UserError

FORMS = {"custom-coco": DETECTION, "custom-boxes": DETECTION, "custom-masks": SEGMENTATION}


def describe_dense(
    data: str, prepared: str, void: int | None, report: Callable
) -> dict[str, Any] | None:
    """Describe a dataset with boxes, masks or label maps.

    Args:
        data (str): COCO annotation file, or a folder.
        prepared (str): Folder for converted annotations and generated splits.
        void (int | None): Pixel value of label maps to ignore.
        report (Callable): Unused.

    Returns:
        dict[str, Any] | None: Description as of :func:`smallvit.bench.looking.describe`, with
        ``task`` and ``notes``; None for other data, such as folders of classes.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="smallvit-bench-") as folder:
            form = recognize(data, folder, void=void).form
    except UserError:
        if osp.isfile(data):
            raise
        return None
    if form not in FORMS:
        return None
    found = recognize(data, prepared, void=void)  # what it writes is kept for the runs
    same = "test" not in found.images
    counts = {
        split: [found.counts.get(split, {}).get(name, 0) for name in found.classes]
        for split in found.images
    }
    survey = look_at(found.sample)
    return dict(
        task=FORMS[found.form],
        classes=list(found.classes),
        counts=counts,
        images=dict(found.images),
        fingerprints={"all": _fingerprint(found, osp.dirname(prepared))},
        selected_on="the validation images",
        tested_on="the validation images" if same else "the test images",
        same_images=same,
        image_size=image_size(found, survey),
        notes=list(found.notes),
    )


def _fingerprint(found: OwnData, out: str) -> str:
    """Hash the names and sizes of the files of the data, without the results of the bench."""
    digest = hashlib.sha256()
    for folder, folders, names in os.walk(found.root):
        folders[:] = sorted(each for each in folders if not _is(osp.join(folder, each), out))
        for name in sorted(names):
            path = osp.join(folder, name)
            size = osp.getsize(path) if osp.isfile(path) else 0
            digest.update(f"{osp.relpath(path, found.root)} {size}\n".encode())
    return digest.hexdigest()[:32]


def _is(folder: str, other: str) -> bool:
    return osp.realpath(folder) == osp.realpath(other)


def dense_config(settings: BenchSettings, run: Run, workers: int) -> Config:
    """Build the config of a run, except for its length.

    Args:
        settings (BenchSettings): Settings of the bench.
        run (Run): Run of the bench.
        workers (int): Number of data loader workers.

    Returns:
        Config: Config with a schedule in iterations.
    """
    found = recognize(settings.data, settings.prepared, void=settings.void)
    name = config_name(parse_method(run.method), settings.task)
    wishes = Wishes(
        epochs=1, batch_size=settings.batch_size, image_size=settings.image_size, seed=run.seed
    )
    plan = make_plan(name, found, look_at(found.sample), wishes)
    with tempfile.TemporaryDirectory(prefix="smallvit-bench-") as folder:
        path = osp.join(folder, "config.py")
        with open(path, "w", encoding="utf-8") as file:
            file.write(config_text(plan, folder, "small_data_bench.py"))
        cfg = read_config(path)
    cfg.pop("fit_to_folder", None)
    if run.width:
        set_width(cfg.model, run.width)
    cfg.optim_wrapper.optimizer.lr *= run.rate
    _count_in_steps(cfg, TASKS[settings.task].metric)
    if settings.task == DETECTION:
        cfg.val_evaluator.metric = ["bbox"]  # evaluating masks doubles the time of a validation
    for split in ("train", "val", "test"):
        loader = cfg[f"{split}_dataloader"]
        loader.num_workers, loader.persistent_workers = workers, workers > 0
    if not settings.flip:
        dataset = cfg.train_dataloader.dataset
        dataset.pipeline = [step for step in dataset.pipeline if "RandomFlip" not in step.type]
    return cfg


def _count_in_steps(cfg: Config, metric: str) -> None:
    cfg.train_cfg = dict(by_epoch=False, max_iters=1, val_interval=1)
    loader = cfg.train_dataloader
    loader.sampler = dict(type="InfiniteSampler", shuffle=True)
    for key in ("batch_sampler", "drop_last"):
        loader.pop(key, None)
    cfg.param_scheduler = [
        dict(type="LinearLR", start_factor=0.01, by_epoch=False, begin=0, end=1),
        dict(type="CosineAnnealingLR", eta_min=0.0, by_epoch=False, begin=1, end=2),
    ]
    cfg.default_hooks.checkpoint = dict(
        **dict(type="CheckpointHook", by_epoch=False, interval=1, max_keep_ckpts=1),
        **dict(save_best=metric, rule="greater"),
    )
    cfg.log_processor = dict(type="LogProcessor", window_size=50, by_epoch=False)
