"""Validation of checkpoint values that would fail only later in a resumed run.

Values that MMEngine and torch load are checked when they are loaded; a learning rate that is a
string fails only at the first step, a score that is a string only at the first validation.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from numbers import Number
from typing import Any

from mmengine.optim import OptimWrapper
from mmengine.runner import Runner

from smallvit.utils.json_files import brief

#: Maximum number of steps; no training has more, and schedules are replayed step by step.
MOST_STEPS = 10**9
#: Key, wrong value and expected value: ("meta.iter", -1, "a number of iterations").
Wrong = tuple[str, Any, str]


def describe(wrong: Wrong) -> str:
    """Describe a wrong value in a message.

    Args:
        wrong (tuple): Key, value and expected value.

    Returns:
        str: Key, expected value and value found.
    """
    key, value, wanted = wrong
    return f"expected {key} to be {wanted}, got {brief(value)}"


def wrong_progress(checkpoint: Mapping[str, Any]) -> Iterator[Wrong]:
    """Find invalid values of the progress, the scores and the process states.

    Args:
        checkpoint (Mapping): The loaded checkpoint; ``meta`` and the message hub are dicts.

    Yields:
        tuple: Key, value and expected value.
    """
    meta, info = checkpoint["meta"], checkpoint["message_hub"]["runtime_info"]
    for key in ("epoch", "iter"):
        if not _is_count(meta[key], MOST_STEPS):
            yield f"meta.{key}", meta[key], f"a number from 0 to {MOST_STEPS:.0e}"
    seed = meta.get("seed")
    if seed is not None and not _is_count(_magnitude(seed), (1 << 63) - 1):
        yield "meta.seed", seed, "a seed"
    for key, value in info.items():
        if str(key).startswith("best_score") and not _is_number(value, finite=False):
            yield f"message_hub.runtime_info.{key}", value, "a number"
    yield from _wrong_processes(checkpoint.get("smallvit"))
    yield from _wrong_settings(checkpoint.get("smallvit_settings"))


def _wrong_processes(state: Any) -> Iterator[Wrong]:
    processes = state.get("processes") if isinstance(state, Mapping) else None
    for number, own in enumerate(processes if isinstance(processes, list) else ()):
        if not isinstance(own, Mapping):
            continue  # reported where the state is restored
        name, seed = f"smallvit.processes[{number}]", own.get("data_seed")
        good = isinstance(seed, (list, tuple)) and len(seed) == 2
        if not good or not all(_is_count(part, (1 << 64) - 1) for part in seed):
            yield f"{name}.data_seed", seed, "two numbers >= 0"
        seed = own.get("sampler_seed")
        if seed is not None and not _is_count(_magnitude(seed), (1 << 63) - 1):
            yield f"{name}.sampler_seed", seed, "a seed"


def _wrong_settings(stored: Any) -> Iterator[Wrong]:
    if stored is None:
        return
    if not isinstance(stored, Mapping):
        yield "smallvit_settings", stored, "a dict"
        return
    for key in ("settings", "hooks"):
        if not isinstance(stored.get(key) or {}, Mapping):
            yield f"smallvit_settings.{key}", stored[key], "a dict"
            return
    settings = stored.get("settings") or {}
    for key in ("batch_size", "samples", "iterations", "length", "accumulation"):
        value = settings.get(key)
        if value is not None and not (_is_count(value, 1 << 53) and value > 0):
            yield f"smallvit_settings.settings.{key}", value, "a number >= 1"


def wrong_optimizer(runner: Runner, checkpoint: Mapping[str, Any]) -> Iterator[Wrong]:
    """Find optimizer and scheduler settings whose type differs from the run's own.

    Args:
        runner (Runner): The runner, with its optimizers and schedulers built.
        checkpoint (Mapping): The loaded checkpoint.

    Yields:
        tuple: Key, value and expected value.
    """
    schedulers = checkpoint.get("param_schedulers") or []
    if isinstance(runner.optim_wrapper, OptimWrapper):
        if not isinstance(schedulers, list):
            yield "param_schedulers", schedulers, "a list"
        yield from _wrong_groups(runner.optim_wrapper, checkpoint["optimizer"], "optimizer")
        yield from _wrong_schedulers(runner.param_schedulers, schedulers, "param_schedulers")
        return
    for name, wrapper in runner.optim_wrapper.items():
        stored = checkpoint["optimizer"]
        stored = stored.get(name) if isinstance(stored, Mapping) else None
        yield from _wrong_groups(wrapper, stored, f"optimizer.{name}")
        if not isinstance(schedulers or {}, Mapping):
            yield "param_schedulers", schedulers, "a dict"
        if isinstance(schedulers, Mapping) and isinstance(runner.param_schedulers, dict):
            own, name = runner.param_schedulers.get(name), f"param_schedulers.{name}"
            yield from _wrong_schedulers(own, schedulers.get(name), name)


def _wrong_groups(wrapper: OptimWrapper, stored: Any, name: str) -> Iterator[Wrong]:
    if not isinstance(stored, Mapping):
        yield name, stored, "the state of an optimizer"
        return
    groups = stored.get("param_groups")
    if groups is None:
        return  # written by a strategy, which checks its own state
    if not isinstance(groups, list):
        yield f"{name}.param_groups", groups, "a list"
        return
    for number, group in enumerate(groups):
        place = f"{name}.param_groups[{number}]"
        if not isinstance(group, Mapping):
            yield place, group, "a group of parameters"
            return
        if not isinstance(group.get("params"), (list, tuple)):
            yield f"{place}.params", group.get("params"), "a list of parameters"
            return
    owns = wrapper.optimizer.param_groups
    for number, (own, group) in enumerate(zip(owns, groups, strict=False)):
        settings = {key: value for key, value in own.items() if key != "params"}
        yield from _unlike(settings, group, f"{name}.param_groups[{number}]")


def _wrong_schedulers(own: Any, stored: Any, name: str) -> Iterator[Wrong]:
    if not isinstance(stored, list) or not isinstance(own, list) or len(own) != len(stored):
        return  # a different schedule, for which the config takes precedence
    for number, (scheduler, state) in enumerate(zip(own, stored, strict=True)):
        if isinstance(state, Mapping):
            yield from _unlike(scheduler.state_dict(), state, f"{name}[{number}]")
        else:
            yield f"{name}[{number}]", state, "the state of a scheduler"


def _unlike(own: Mapping[str, Any], stored: Mapping[str, Any], name: str) -> Iterator[Wrong]:
    for key in own.keys() & stored.keys():
        mine, theirs = own[key], stored[key]
        if isinstance(mine, bool) or theirs is None:
            continue
        if isinstance(mine, Number) and not _is_number(theirs, finite=_is_finite(mine)):
            yield f"{name}.{key}", theirs, "a number"
        if _are_numbers(mine) and not _are_numbers(theirs):
            yield f"{name}.{key}", theirs, "a list of numbers"


def _are_numbers(values: Any) -> bool:
    several = isinstance(values, (list, tuple)) and len(values) > 0
    return several and all(_is_number(value) for value in values)


def _is_number(value: Any, finite: bool = True) -> bool:
    if hasattr(value, "item") and getattr(value, "size", None) is not None:
        count = value.numel() if hasattr(value, "numel") else value.size
        value = value.item() if count == 1 else None
    if not isinstance(value, (int, float)) or (abs(value) > 1e300 and isinstance(value, int)):
        return False
    return math.isfinite(value) if finite else not math.isnan(value)


def _is_finite(value: Number) -> bool:
    return isinstance(value, int) or not isinstance(value, float) or math.isfinite(value)


def _magnitude(value: Any) -> Any:
    return abs(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _is_count(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
