"""What the guards cost: the same training with and without them, step by step in turns."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from smallvit.engine import images
from smallvit.engine.guards import GUARDS, add_guards

#: Steps of each training that warm it up.
WARM_UP = 3


def guard_cost(cfg: Config, steps: int) -> dict[str, Any]:
    """Measure how much longer a training step takes with all guards.

    A step is what a run does in an iteration: loading the batch, the training step and
    all hooks. The two trainings take turns, and the order within a turn alternates.

    Args:
        cfg (Config): A config with its data.
        steps (int): Steps of each training.

    Returns:
        dict: ``steps``; for wall time (``wall``) and the process's CPU time (``cpu``), which
        other programs on the machine disturb less: median seconds of a step ``with`` and
        ``without`` guards, and ``cost``, the median over the turns of the part by which
        the guards prolong a step.
    """
    with tempfile.TemporaryDirectory() as folder:
        trainings = {
            name: _training(cfg, f"{folder}/{name}", name == "with") for name in ("without", "with")
        }
        for _ in range(WARM_UP):
            for training in trainings.values():
                next(training)
        turns = [_turn(trainings, number % 2 == 1) for number in range(steps)]
    return {"steps": steps, "wall": _summary(turns, 0), "cpu": _summary(turns, 1)}


def _turn(trainings: dict[str, Iterator], reverse: bool) -> dict[str, tuple[float, float]]:
    times = {}
    for name in sorted(trainings, reverse=reverse):
        began = time.perf_counter(), time.process_time()
        next(trainings[name])
        times[name] = time.perf_counter() - began[0], time.process_time() - began[1]
    return times


def _summary(turns: list[dict[str, tuple[float, float]]], clock: int) -> dict[str, float]:
    return {
        "with": statistics.median(turn["with"][clock] for turn in turns),
        "without": statistics.median(turn["without"][clock] for turn in turns),
        "cost": statistics.median(
            turn["with"][clock] / turn["without"][clock] - 1 for turn in turns
        ),
    }


class _OnlyPrepare(Hook):
    """Let ``Runner.train`` do all that comes before its loop."""

    def before_run(self, runner: Runner) -> None:
        runner._train_loop.run = lambda: None


def _training(cfg: Config, work_dir: str, guarded: bool) -> Iterator[None]:
    """Train step by step; each ``next`` is one."""
    cfg = Config(cfg.to_dict(), format_python_code=False)
    images.install(cfg.get("default_scope"))
    cfg.work_dir = work_dir
    cfg.experiment_name = f"guard_cost_{guarded}_{time.time_ns()}"
    cfg.log_level = "WARNING"
    cfg.visualizer = None
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    hooks = cfg.default_hooks
    for key in [*GUARDS, "visualization", "checkpoint"]:
        hooks.pop(key, None)
    # Checkpoints are written once in many steps, here never.
    hooks.checkpoint = dict(type="CheckpointHook", by_epoch=True, interval=-1, save_last=False)
    if guarded:
        add_guards(cfg)
    runner = Runner.from_cfg(cfg)
    runner.register_hook(_OnlyPrepare(), priority="LOWEST")
    runner.train()
    runner.call_hook("before_train")
    yield from _steps(runner)


def _steps(runner: Runner) -> Iterator[None]:
    loop = runner.train_loop
    while True:
        runner.call_hook("before_train_epoch")
        runner.model.train()
        if isinstance(loop, IterBasedTrainLoop):
            for batch in loop.dataloader_iterator:
                loop.run_iter(batch)
                yield
        for number, batch in enumerate(loop.dataloader):
            loop.run_iter(number, batch)
            yield
        loop._epoch += 1
