"""Functions of the bench that run in child processes: trials, training, and imported ones.

Every function takes picklable values and a function that reports progress, and returns picklable
values, so that they can be passed between processes.
"""

from __future__ import annotations

import json
import os.path as osp
import statistics
import tempfile
import time
from functools import partial

import torch
import torch._dynamo
from mmengine.registry import DATASETS, init_default_scope
from mmpretrain.utils import register_all_modules

from smallvit.analysis.harness import timed
from smallvit.analysis.training_steps import steps_of
from smallvit.bench.looking import describe as describe
from smallvit.bench.looking import look as look
from smallvit.bench.measuring import device
from smallvit.bench.measuring import fit as fit
from smallvit.bench.measuring import measure as measure
from smallvit.bench.methods import TEACHER
from smallvit.bench.plan import BenchSettings, Run
from smallvit.bench.pretraining import pace as pace
from smallvit.bench.pretraining import pretrain as pretrain
from smallvit.bench.recipe import TrainedTeacher, run_config, whole_images
from smallvit.bench.references import obtain as obtain
from smallvit.bench.results import STORED, TAUGHT, WEIGHTS, is_guided, keep_teacher
from smallvit.bench.training import CONFIG, Report, make_runner
from smallvit.bench.training import attempt as attempt
from smallvit.bench.training import train as train
from smallvit.engine.models import build_model
from smallvit.registry import DATASETS as OWN_DATASETS
from smallvit.registry import MODELS as OWN_MODELS
from smallvit.utils.files import write_whole

# All imports of a run are loaded before the fork server forks.
register_all_modules(init_default_scope=False)
for registry in (OWN_DATASETS, OWN_MODELS):
    registry.import_from_location()

#: Minimum number of steps and seconds of a trial.
TRIAL_STEPS, TRIAL_SECONDS = 6, 4.0


def trial(
    settings: BenchSettings, run: Run, num_classes: int, workers: int, report: Report
) -> dict[str, float]:
    """Train a method for a few seconds to measure its speed.

    A guided method uses an untrained teacher, which takes the same time.

    Args:
        settings (BenchSettings): Settings of the bench.
        run (Run): Method, subset and seed.
        num_classes (int): Number of classes.
        workers (int): Number of data loader workers.
        report (Callable): Unused.

    Returns:
        dict: Fields of :class:`smallvit.bench.plan.Speed`.
    """
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="smallvit-trial-") as work_dir:
        trained_teacher = None
        if is_guided(run.method):
            trained_teacher = _untrained_teacher(settings, num_classes, work_dir)
        cfg = run_config(settings, run, num_classes, workers, trained_teacher)
        # Endless training without checkpoints.
        cfg.train_cfg.update(max_iters=10**9, val_interval=10**9)
        cfg.param_scheduler = []
        cfg.default_hooks.checkpoint.update(interval=-1, save_last=False)
        runner = make_runner(cfg, work_dir, resume=False)
        step = partial(next, steps_of(runner))
        step()  # the first step allocates memory and counts as setup
        setup, times = time.monotonic() - began, []
        while len(times) < TRIAL_STEPS or time.monotonic() - began < TRIAL_SECONDS:
            times.append(timed(step, device=device()).wall)
        val = timed(runner.val_loop.run).wall
    validated = len(runner.val_dataloader.dataset)
    test = val * len(DATASETS.build(cfg.test_dataloader.dataset)) / validated
    return dict(setup=setup, step=statistics.median(times), val=val, test=test)


def _untrained_teacher(settings: BenchSettings, num_classes: int, folder: str) -> TrainedTeacher:
    cfg = run_config(settings, Run(TEACHER, None, 0, 1, 1), num_classes)
    init_default_scope(cfg.default_scope)
    checkpoint = osp.join(folder, WEIGHTS)
    torch.save({"state_dict": build_model(cfg).state_dict()}, checkpoint)
    return TrainedTeacher(checkpoint)


def store(
    settings: BenchSettings, run: Run, num_classes: int, folder: str, out: str, report: Report
) -> None:
    """Store the features of a trained teacher for all training images.

    Args:
        settings (BenchSettings): Settings of the bench.
        run (Run): Run of the teacher.
        num_classes (int): Number of classes.
        folder (str): Work folder of the teacher; its config file is not loaded.
        out (str): Output folder.
        report (Callable): Unused.
    """
    from smallvit.plugins.locality_guidance.precompute import Precomputing, write_store

    cfg = whole_images(run_config(settings, run, num_classes))
    object.__setattr__(cfg, "_filename", osp.join(folder, CONFIG))
    how = Precomputing(device=device())
    keep_teacher(osp.join(folder, TAUGHT))
    seconds = timed(partial(write_store, cfg, osp.join(folder, TAUGHT), out, how)).wall
    write_whole(osp.join(folder, STORED), json.dumps({"seconds": seconds}))
