"""Keep a config's optimizer settings and schedules while those of a checkpoint are loaded."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Number
from typing import Any

from mmengine.optim import OptimWrapper, _ParamScheduler
from mmengine.runner import IterBasedTrainLoop, Runner

#: Keys of a scheduler's state that hold its progress rather than its settings.
PROGRESS = ("last_step", "_global_step", "_last_value", "verbose")
#: Keys of a parameter group that are not settings of the config.
BOOKKEEPING = ("params", "param_names", "lr", "fused", "foreach", "capturable", "differentiable")


@dataclass
class ConfiguredOptimizer:
    """Parameter groups and schedules as built from the config.

    Args:
        wrapper (OptimWrapper): The optimizer wrapper.
        schedulers (list[_ParamScheduler]): Schedulers of the optimizer.
        groups (list[dict]): Settings of each parameter group, without its parameters.
        states (list[dict]): States of the schedulers before their first step.
    """

    wrapper: OptimWrapper
    schedulers: list[_ParamScheduler]
    groups: list[dict[str, Any]]
    states: list[dict[str, Any]]


def remember_optimizers(runner: Runner) -> list[ConfiguredOptimizer]:
    """Store the settings of a run's optimizers before a checkpoint is loaded into them.

    Args:
        runner (Runner): The runner, with its optimizers and schedulers built.

    Returns:
        list[ConfiguredOptimizer]: One for each optimizer.
    """
    return [
        ConfiguredOptimizer(
            wrapper,
            schedulers,
            [{k: v for k, v in group.items() if k != "params"} for group in wrapper.param_groups],
            [copy.deepcopy(scheduler.state_dict()) for scheduler in schedulers],
        )
        for wrapper, schedulers in _pairs(runner)
    ]


def _pairs(runner: Runner) -> Iterator[tuple[OptimWrapper, list[_ParamScheduler]]]:
    schedulers = runner.param_schedulers or []
    if isinstance(runner.optim_wrapper, OptimWrapper):
        yield runner.optim_wrapper, list(schedulers)
        return
    for name, wrapper in runner.optim_wrapper.items():
        yield wrapper, list(schedulers.get(name, ()) if isinstance(schedulers, dict) else ())


def apply_configured(runner: Runner, configured: ConfiguredOptimizer, stored: list[dict]) -> str:
    """Apply the config's settings where they differ from the checkpoint's.

    Args:
        runner (Runner): The runner, with its checkpoint loaded.
        configured (ConfiguredOptimizer): The config's settings.
        stored (list[dict]): Scheduler states in the checkpoint.

    Returns:
        str: Description of the changes; empty if there are none.
    """
    said = list(_apply_groups(configured))
    if _schedule_changed(configured, stored):
        before = configured.wrapper.param_groups[0]["lr"]
        _replay(runner, configured)
        after = configured.wrapper.param_groups[0]["lr"]
        said.append(
            "learning rate or schedule of the config differ from the checkpoint; continuing with "
            f"the learning rate of the config, {after:.4g} instead of {before:.4g}"
        )
    return "; ".join(said)


def _apply_groups(configured: ConfiguredOptimizer) -> Iterator[str]:
    scheduled = {getattr(each, "param_name", "") for each in configured.schedulers}
    changed: dict[str, tuple] = {}
    for group, wanted in zip(configured.wrapper.param_groups, configured.groups, strict=True):
        for key, value in wanted.items():
            skipped = key in BOOKKEEPING or key in scheduled or key.startswith("initial_")
            if skipped or not _plain(value) or _same(group.get(key), value):
                continue
            changed.setdefault(key, (group.get(key), value))
            group[key] = value
    for key, (old, new) in changed.items():
        yield f"optimizer.{key} is now {new} as in the config, was {old}"


def _plain(value: Any) -> bool:
    return isinstance(value, Number) or (
        isinstance(value, (list, tuple)) and all(isinstance(item, Number) for item in value)
    )


def _same(one: Any, other: Any) -> bool:
    as_list = [list(each) if isinstance(each, (list, tuple)) else each for each in (one, other)]
    return as_list[0] == as_list[1]


def _schedule_changed(configured: ConfiguredOptimizer, stored: list[dict]) -> bool:
    if not configured.states:
        # Without a schedule the groups hold the config's learning rate.
        groups = zip(configured.wrapper.param_groups, configured.groups, strict=True)
        return any(group["lr"] != wanted["lr"] for group, wanted in groups)
    if len(stored) != len(configured.states):
        return True
    return any(
        _settings(one) != _settings(other)
        for one, other in zip(configured.states, stored, strict=True)
    )


def _settings(state: dict[str, Any]) -> dict[str, Any]:
    if "num_bad_epochs" in state:  # ReduceOnPlateau depends on the metrics so far
        return {}
    return {
        key: list(value) if isinstance(value, (list, tuple)) else value
        for key, value in state.items()
        if key not in PROGRESS
    }


def _replay(runner: Runner, configured: ConfiguredOptimizer) -> None:
    """Replay the schedulers from the start to the position of the checkpoint."""
    for group, wanted in zip(configured.wrapper.param_groups, configured.groups, strict=True):
        for key, value in wanted.items():
            if key == "lr" or key.startswith("initial_"):
                group[key] = value
    for scheduler, state in zip(configured.schedulers, configured.states, strict=True):
        scheduler.load_state_dict(copy.deepcopy(state))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of scheduler steps without optimizer steps
        for by_epoch in _steps(runner):
            for scheduler in configured.schedulers:
                if scheduler.by_epoch == by_epoch:
                    scheduler.step()


def _steps(runner: Runner) -> Iterator[bool]:
    """Scheduler steps so far: False after an iteration, True after an epoch."""
    loop = runner.train_loop
    if isinstance(loop, IterBasedTrainLoop):
        length, epochs = math.inf, 0
    else:
        length, epochs = len(loop.dataloader), runner.epoch
    for done in range(1, runner.iter + 1):
        yield False
        if epochs and done % length == 0 and done // length <= epochs:
            yield True
