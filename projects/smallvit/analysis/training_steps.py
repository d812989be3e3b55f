"""Training runs that advance step by step, for alternating and timing them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import IterBasedTrainLoop, Runner

from smallvit.analysis.harness import Rounds, in_turns
from smallvit.engine.guards import GUARDS
from smallvit.engine.install import install
from smallvit.layers.attention_form import follow_form


class _OnlyPrepare(Hook):
    """Loop that makes ``Runner.train`` do only what precedes its loop."""

    def before_run(self, runner: Runner) -> None:
        runner._train_loop.run = lambda: None


def training_steps(
    cfg: Config, work_dir: str, prepare: Callable[[Config], None] | None = None
) -> Iterator[None]:
    """Train indefinitely, without guards, validation and checkpoints.

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
    yield from steps_of(bare_runner(cfg, work_dir, prepare))


def bare_runner(
    cfg: Config, work_dir: str, prepare: Callable[[Config], None] | None = None
) -> Runner:
    """Build a runner without guards, validation and checkpoints.

    Args:
        cfg (Config): A training config; it is not changed.
        work_dir (str): Folder for what the run writes.
        prepare (Callable, optional): Called with the config before the run is built.
            Defaults to None.

    Returns:
        Runner: The runner, for :func:`steps_of`.
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
    if prepare is not None:
        prepare(cfg)
    runner = Runner.from_cfg(cfg)
    follow_form(runner.model)
    return runner


def steps_of(runner: Runner) -> Iterator[None]:
    """Train with a runner indefinitely.

    Args:
        runner (Runner): The runner; its training loop is not used otherwise.

    Yields:
        None: After each step.
    """
    runner.register_hook(_OnlyPrepare(), priority="LOWEST")
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
        trainings (Mapping[str, Iterator]): Each ``next`` is a step.
        turns (int): How often each has its turn.
        block (int): Steps that are timed in a turn. Defaults to 1.
        skip (int): Steps before them in a turn that are not: their batches were loaded
            while the others trained. Defaults to 0.

    Returns:
        list[dict[str, Timing]]: For each turn the seconds of a step.
    """
    steps = {name: partial(next, training) for name, training in trainings.items()}
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return in_turns(steps, turns, count=block, skip=skip, device=device)
