"""Step-by-step training runs, for timing several of them alternately."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from smallvit.analysis.harness import Rounds, time_interleaved
from smallvit.engine.guards import GUARDS
from smallvit.engine.install import install
from smallvit.layers.attention_form import use_faster_attention


class _SkipLoop(Hook):
    """Hook that stops ``Runner.train`` before its loop."""

    def before_run(self, runner: Runner) -> None:
        runner._train_loop.run = lambda: None


def training_steps(
    cfg: Config, work_dir: str, config_modifier: Callable[[Config], None] | None = None
) -> Iterator[None]:
    """Train indefinitely, without guards, validation and checkpoints.

    A step includes everything that a run does in an iteration: loading the batch, the training
    step and all hooks.

    Args:
        cfg (Config): Training config, which is not modified.
        work_dir (str): Folder for the files of the run.
        config_modifier (Callable, optional): Modifies a copy of the config in place before the
            run is built. Defaults to None.

    Yields:
        None: After each step.
    """
    yield from steps_of(bare_runner(cfg, work_dir, config_modifier))


def bare_runner(
    cfg: Config, work_dir: str, config_modifier: Callable[[Config], None] | None = None
) -> Runner:
    """Build a runner without guards, validation and checkpoints.

    Args:
        cfg (Config): Training config, which is not modified.
        work_dir (str): Folder for the files of the run.
        config_modifier (Callable, optional): Modifies a copy of the config in place before the
            run is built. Defaults to None.

    Returns:
        Runner: Runner for :func:`steps_of`.
    """
    cfg = Config(cfg.to_dict(), format_python_code=False)
    install(cfg.get("default_scope"))
    cfg.work_dir = work_dir
    cfg.experiment_name = f"training_steps_{time.time_ns()}"
    cfg.log_level = "WARNING"
    cfg.visualizer = None
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    hooks = cfg.default_hooks
    for key in [*GUARDS, "visualization", "checkpoint"]:
        hooks.pop(key, None)
    # Checkpoint intervals are set so large that none is written.
    hooks.checkpoint = dict(type="CheckpointHook", by_epoch=True, interval=-1, save_last=False)
    if config_modifier is not None:
        config_modifier(cfg)
    runner = Runner.from_cfg(cfg)
    use_faster_attention(runner.model)
    return runner


def steps_of(runner: Runner) -> Iterator[None]:
    """Train with a runner indefinitely.

    Args:
        runner (Runner): Runner whose own training loop is not used.

    Yields:
        None: After each step.
    """
    runner.register_hook(_SkipLoop(), priority="LOWEST")
    runner.train()
    runner.call_hook("before_train")
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
) -> Rounds:
    """Time steps of several training runs alternately.

    Args:
        trainings (Mapping[str, Iterator]): Training runs by name; each ``next`` is a step.
        turns (int): Number of measurements of each run.
        block (int): Timed steps per measurement. Defaults to 1.
        skip (int): Untimed steps at the start of each measurement, whose batches were loaded
            while other runs trained. Defaults to 0.

    Returns:
        list[dict[str, Timing]]: Duration of a step of each run, for each measurement.
    """
    steps = {name: partial(next, training) for name, training in trainings.items()}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return time_interleaved(steps, turns, count=block, skip=skip, device=device)
