"""Trainings that go on step by step, so that several can take turns and be timed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from smallvit.datasets.io import images
from smallvit.engine.guards import GUARDS


class _OnlyPrepare(Hook):
    """Let ``Runner.train`` do all that comes before its loop."""

    def before_run(self, runner: Runner) -> None:
        runner._train_loop.run = lambda: None


def training_steps(
    cfg: Config, work_dir: str, prepare: Callable[[Config], None] | None = None
) -> Iterator[None]:
    """Train without end and without guards, validation and checkpoints.

    A step is what a run does in an iteration: loading the batch, the training step and all
    hooks.

    Args:
        cfg (Config): A training config; it is not changed.
        work_dir (str): Folder for what the run writes.
        prepare (Callable, optional): Called with the config before the run is built.
            Defaults to None.

    Yields:
        None: After each step.
    """
    cfg = Config(cfg.to_dict(), format_python_code=False)
    images.install(cfg.get("default_scope"))
    cfg.work_dir = work_dir
    cfg.experiment_name = f"training_steps_{time.time_ns()}"
    cfg.log_level = "WARNING"
    cfg.visualizer = None
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    hooks = cfg.default_hooks
    for key in [*GUARDS, "visualization", "checkpoint"]:
        hooks.pop(key, None)
    # Checkpoints are written once in many steps, here never.
    hooks.checkpoint = dict(type="CheckpointHook", by_epoch=True, interval=-1, save_last=False)
    if prepare is not None:
        prepare(cfg)
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


def take_turns(
    trainings: Mapping[str, Iterator], turns: int, block: int = 1, skip: int = 0
) -> list[dict[str, tuple[float, float]]]:
    """Time steps of several trainings, each in its turn; every other turn in reverse order.

    Args:
        trainings (Mapping[str, Iterator]): Each ``next`` is a step.
        turns (int): How often each has its turn.
        block (int): Steps that are timed in a turn. Defaults to 1.
        skip (int): Steps before them in a turn that are not: their batches were loaded
            while the others trained. Defaults to 0.

    Returns:
        list[dict[str, tuple[float, float]]]: For each turn the seconds of a step, by the
        clock and of this process's CPU time.
    """
    return [
        {
            name: _timed(trainings[name], block, skip)
            for name in sorted(trainings, reverse=number % 2 == 1)
        }
        for number in range(turns)
    ]


def _timed(training: Iterator, block: int, skip: int) -> tuple[float, float]:
    for _ in range(skip):
        next(training)
    _synchronize()
    began = time.perf_counter(), time.process_time()
    for _ in range(block):
        next(training)
    _synchronize()
    ended = time.perf_counter(), time.process_time()
    return (ended[0] - began[0]) / block, (ended[1] - began[1]) / block


def _synchronize() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
