"""What the child processes of the bench do: look at the data, try, train, measure.

Every function takes plain values and a function that reports progress, and returns plain
values, so that they can cross from one process to the other.
"""

from __future__ import annotations

import glob
import json
import os
import os.path as osp
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch._dynamo
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, init_default_scope
from mmengine.runner import Runner
from mmpretrain.utils import register_all_modules

from smallvit.analysis.benchmark import Settings as BenchmarkSettings
from smallvit.analysis.benchmark import benchmark
from smallvit.analysis.complexity import complexity
from smallvit.analysis.harness import timed
from smallvit.analysis.training_steps import steps_of
from smallvit.bench.methods import TEACHER, parse_method
from smallvit.bench.plan import Run, Settings
from smallvit.bench.recipe import DIGITS, SPLITS, Lesson, run_config, whole_images
from smallvit.bench.results import RESULT, STORED, is_guided
from smallvit.engine.checkpoint.formats import write_checkpoint
from smallvit.engine.models import build_model, load_weights
from smallvit.engine.pipeline import build_runner, prepare
from smallvit.engine.run_record import fingerprint, read_record
from smallvit.engine.stored_config import KEY
from smallvit.errors import UserError
from smallvit.registry import DATASETS as OWN_DATASETS
from smallvit.registry import MODELS as OWN_MODELS
from smallvit.utils.files import remove_quietly, write_whole

# Everything that a run imports is there before the server forks.
register_all_modules(init_default_scope=False)
for registry in (OWN_DATASETS, OWN_MODELS):
    registry.import_from_location()

Report = Callable[[dict[str, Any]], None]
ACCURACY = "accuracy/top1"
WEIGHTS, CONFIG = "model.pth", "config.py"
#: A trial takes at least so many steps, and so many seconds.
TRIAL_STEPS, TRIAL_SECONDS = 6, 4.0


def describe(data: str, report: Report) -> dict[str, Any]:
    """Look at the user's images.

    Args:
        data (str): ``digits`` or a folder.
        report (Callable): Not used.

    Returns:
        dict: ``classes``, ``counts`` (images of each class, by split), ``fingerprints``,
        ``tested_on`` and ``selected_on`` (what tests and what chooses the best state, in
        words), ``same_images`` (whether they are the same), ``image_size`` (that fits).
    """
    init_default_scope("mmpretrain")
    kind = dict(type="smallvit.Digits")
    if data != DIGITS:
        kind = dict(type="smallvit.ClassFolders", data_root=osp.abspath(data))
    parts = {split: DATASETS.build(dict(kind, split=split)) for split in SPLITS}
    classes = list(parts["train"].metainfo["classes"])
    counts = {}
    for split, part in parts.items():
        found = Counter(int(label) for label in part.get_gt_labels())
        counts[split] = [found[label] for label in range(len(classes))]
    said = dict(selected_on="split val", tested_on="split test", same_images=False, image_size=32)
    if data != DIGITS:
        said |= _folder_facts(data, parts["train"])
    prints = {split: fingerprint(part) for split, part in parts.items()}
    return dict(classes=classes, counts=counts, fingerprints=prints, **said)


def _folder_facts(data: str, train: Any) -> dict[str, Any]:
    from smallvit.datasets.class_folders import split_folders

    given = split_folders(osp.abspath(data))
    selected = "val/" if "val" in given else "one image in five of each class, held out of training"
    return {
        "selected_on": selected,
        "tested_on": "test/" if "test" in given else selected,
        "same_images": "test" not in given,
        "image_size": _fitting_size(train),
    }


def _fitting_size(dataset: Any, looked_at: int = 50) -> int:
    from PIL import Image

    sides = []
    for index in range(0, len(dataset), max(1, len(dataset) // looked_at)):
        with Image.open(dataset.get_data_info(index)["img_path"]) as image:
            sides.append(min(image.size))
    side = statistics.median(sides)
    return 32 if side <= 40 else 64 if side <= 80 else 224


def trial(
    settings: Settings, run: Run, num_classes: int, workers: int, report: Report
) -> dict[str, float]:
    """Train a method for a few seconds to see how fast it is.

    A guided method learns from a teacher that knows nothing, which takes as long.

    Args:
        settings (Settings): What the user chose.
        run (Run): Method, subset and seed.
        num_classes (int): Classes of the data.
        workers (int): Processes that load images.
        report (Callable): Not used.

    Returns:
        dict: Fields of :class:`smallvit.bench.plan.Speed`.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="smallvit-trial-") as work_dir:
        lesson = None
        if is_guided(run.method):
            lesson = _blank_lesson(settings, num_classes, work_dir)
        cfg = run_config(settings, run, num_classes, workers, lesson)
        # Without an end; nothing is written.
        cfg.train_cfg.update(max_iters=10**9, val_interval=10**9)
        cfg.param_scheduler = []
        cfg.default_hooks.checkpoint.update(interval=-1, save_last=False)
        runner = _runner(cfg, work_dir, resume=False)
        step = partial(next, steps_of(runner))
        step()  # the first allocates: it belongs to the setup
        setup, times = time.monotonic() - began, []
        while len(times) < TRIAL_STEPS or time.monotonic() - began < TRIAL_SECONDS:
            times.append(timed(step, device=_device()).wall)
        val = timed(runner.val_loop.run).wall
    validated = len(runner.val_dataloader.dataset)
    test = val * len(DATASETS.build(cfg.test_dataloader.dataset)) / validated
    return dict(setup=setup, step=statistics.median(times), val=val, test=test)


def _blank_lesson(settings: Settings, num_classes: int, folder: str) -> Lesson:
    cfg = run_config(settings, Run(TEACHER, None, 0, 1, 1), num_classes)
    init_default_scope(cfg.default_scope)
    checkpoint = osp.join(folder, WEIGHTS)
    torch.save({"state_dict": build_model(cfg).state_dict()}, checkpoint)
    return Lesson(checkpoint)


def train(
    settings: Settings,
    run: Run,
    num_classes: int,
    workers: int,
    folder: str,
    lesson: Lesson | None,
    report: Report,
) -> dict[str, Any]:
    """Train one run, or go on with it; test its best state; keep the result.

    Args:
        settings (Settings): What the user chose.
        run (Run): What to train.
        num_classes (int): Classes of the data.
        workers (int): Processes that load images.
        folder (str): Work folder; it gets ``config.py``, ``model.pth`` (weights of the
            best state) and ``result.json``.
        lesson (Lesson | None): What a guided method learns from.
        report (Callable): Takes the progress.

    Returns:
        dict: What ``result.json`` holds.
    """
    os.makedirs(folder, exist_ok=True)
    cfg = run_config(settings, run, num_classes, workers, lesson)
    cfg.work_dir = folder
    readable = cfg.pretty_text
    cfg.experiment_name = run.name
    runner = _runner(cfg, folder, resume=True)
    write_whole(osp.join(folder, CONFIG), readable)  # MMEngine wrote it without line breaks
    runner.register_hook(_Progress(report, run.iters), priority="VERY_LOW")
    runner.train()
    best = runner.message_hub.runtime_info.get("best_ckpt")
    if best is None:
        raise UserError(
            f"{folder} has no best state of this run, which another version or folder began: "
            "remove the folder, and the bench trains the run again"
        )
    kept = load_weights(runner.model, best)
    runner._has_loaded = True  # or the test would resume the last state
    tested = runner.test()
    result = {
        "method": run.method,
        "samples": run.samples,
        "seed": run.seed,
        "accuracy": float(tested[ACCURACY]),
        "val_accuracy": float(runner.message_hub.get_info("best_score")),
        "iters": run.iters,
        "train_seconds": read_record(folder)["wall_seconds"],
        "params": sum(parameter.numel() for parameter in runner.model.parameters()),
    }
    _keep_weights(folder, kept)
    write_whole(osp.join(folder, RESULT), json.dumps(result, indent=1))
    return result


def _runner(cfg: Config, work_dir: str, resume: bool) -> Runner:
    cfg.work_dir, cfg.resume, cfg.launcher = work_dir, resume, "none"
    prepare(cfg)
    # It takes longer than training steps, at each checkpoint.
    object.__setattr__(cfg, "_format_python_code", False)
    object.__setattr__(cfg, "_filename", osp.join(work_dir, CONFIG))
    return build_runner(cfg)


def _keep_weights(folder: str, checkpoint: dict) -> None:
    content = {key: checkpoint[key] for key in ("state_dict", KEY) if key in checkpoint}
    described = checkpoint["meta"].get("dataset_meta")
    write_checkpoint(osp.join(folder, WEIGHTS), {**content, "meta": {"dataset_meta": described}})
    for name in ("best_*.pth", "iter_*.pth", "last_checkpoint"):
        for leftover in glob.glob(osp.join(glob.escape(folder), name)):
            remove_quietly(leftover)


class _Progress(Hook):
    """Tell the bench how far the run is."""

    def __init__(self, report: Report, iters: int, every: float = 0.5) -> None:
        self.report, self.iters, self.every = report, iters, every
        self.accuracy: float | None = None
        self._reported = 0.0

    def before_train(self, runner: Runner) -> None:
        best = runner.message_hub.runtime_info.get("best_score")
        self.accuracy = None if best is None else float(best)
        self._send(runner.iter)

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        now = time.monotonic()
        if now - self._reported >= self.every:
            self._reported = now
            self._send(runner.iter + 1)

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        self.accuracy = max(self.accuracy or 0.0, float((metrics or {}).get(ACCURACY, 0.0)))
        self._send(runner.iter)

    def _send(self, iteration: int) -> None:
        self.report({"iter": iteration, "iters": self.iters, "accuracy": self.accuracy})


def measure(
    settings: Settings, methods: list[str], num_classes: int, report: Report
) -> dict[str, Any]:
    """Count parameters and FLOPs, and measure how fast the networks classify, in turns.

    A guided network is measured as it is used: without its teacher.

    Args:
        settings (Settings): What the user chose.
        methods (list[str]): What to measure.
        num_classes (int): Classes of the data.
        report (Callable): Not used.

    Returns:
        dict: ``methods``, for each ``params``, ``flops`` and ``images_per_second``; ``note``,
        which says how it was measured.
    """
    device = _device()
    batch = 16 if device == "cpu" else 128
    size = settings.image_size
    networks = sorted({parse_method(name).network for name in methods})
    cfgs = {name: run_config(settings, Run(name, None, 0, 1, 1), num_classes) for name in networks}
    how = BenchmarkSettings(batch_size=batch, shape=(size, size), device=device, seconds=0.3)
    speeds = benchmark(cfgs, "forward", how)["models"]
    found = {}
    for name, cfg in cfgs.items():
        counted = complexity(cfg, (size, size))
        found[name] = {
            "params": counted["params"],
            "flops": counted["flops"],
            "images_per_second": speeds[name]["images_per_second"],
        }
    threads = f", threads: {torch.get_num_threads()}" if device == "cpu" else ""
    note = f"forward pass, batches of {batch} at {size}x{size}, {_device_name()}{threads}, float32"
    return {"note": note, "methods": {each: found[parse_method(each).network] for each in methods}}


def _device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def _device_name() -> str:
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"


def store(
    settings: Settings, run: Run, num_classes: int, folder: str, out: str, report: Report
) -> None:
    """Write the features of a trained teacher for all training images.

    Args:
        settings (Settings): What the user chose.
        run (Run): The teacher's.
        num_classes (int): Classes of the data.
        folder (str): Work folder of the teacher; the config there is for people to read.
        out (str): Folder to write.
        report (Callable): Not used.
    """
    from smallvit.plugins.locality_guidance.precompute import Precomputing, write_store

    cfg = whole_images(run_config(settings, run, num_classes))
    object.__setattr__(cfg, "_filename", osp.join(folder, CONFIG))
    how = Precomputing(device=_device())
    seconds = timed(partial(write_store, cfg, osp.join(folder, WEIGHTS), out, how)).wall
    write_whole(osp.join(folder, STORED), json.dumps({"seconds": seconds}))
