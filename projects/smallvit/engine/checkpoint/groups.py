"""Regroup optimizer state whose parameter groups differ from the config's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.runner import Runner
from torch import nn

from smallvit.engine.parameter_groups import IMPLEMENTATIONS, PARAMETERS
from smallvit.errors import CheckpointError

#: Scheduler state that has one value per group.
GROUP_VALUES = ("base_values", "_last_value", "min_values")

State = dict[str, Any]


def regroup(runner: Runner, checkpoint: State) -> None:
    """Map the state of the optimizers to the config's parameter groups, by parameter name.

    MMEngine's constructors create one group per parameter, ours merges groups with equal
    settings: a checkpoint of either resumes with either. Equal groups are left unchanged.

    Args:
        runner (Runner): The runner that resumes, with its optimizers built.
        checkpoint (dict): The loaded checkpoint, changed in place.

    Raises:
        CheckpointError: If parameters of one group have different settings in the checkpoint.
    """
    for wrapper, state, schedulers in _optimizers(runner, checkpoint):
        stored, current = _stored_names(state, runner), _current_names(wrapper, runner)
        if stored is None or stored == current or _flat(stored) != _flat(current):
            continue  # equal groups, or another model, which loading the state reports
        firsts = _regroup_state(state, stored, current, wrapper, runner)
        for scheduler in schedulers:
            _regroup_schedule(scheduler, len(stored), firsts)


def _optimizers(
    runner: Runner, checkpoint: State
) -> Iterator[tuple[OptimWrapper, State, list[State]]]:
    wrapper, state = runner.optim_wrapper, checkpoint.get("optimizer")
    schedulers = checkpoint.get("param_schedulers") or []
    if isinstance(wrapper, OptimWrapperDict):
        for name, each in wrapper.items():
            own = schedulers.get(name, []) if isinstance(schedulers, dict) else []
            if isinstance(state, dict) and _is_state(state.get(name)):
                yield each, state[name], own
    elif isinstance(wrapper, OptimWrapper) and _is_state(state):
        yield wrapper, state, schedulers if isinstance(schedulers, list) else []


def _is_state(state: Any) -> bool:
    """Whether a value has the form of an optimizer state; loading it checks the rest."""
    return (
        isinstance(state, dict)
        and isinstance(state.get("state"), dict)
        and isinstance(state.get("param_groups"), list)
        and all(
            isinstance(group, dict) and isinstance(group.get("params"), list)
            for group in state["param_groups"]
        )
    )


def _model(runner: Runner) -> nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model


def _current_names(wrapper: OptimWrapper, runner: Runner) -> list[list[str]]:
    names = {id(parameter): name for name, parameter in _model(runner).named_parameters()}
    return [
        [names.get(id(parameter), "") for parameter in group["params"]]
        for group in wrapper.optimizer.param_groups
    ]


def _stored_names(state: State, runner: Runner) -> list[list[str]] | None:
    """Parameter names of each stored group; None if they cannot be determined."""
    groups = state["param_groups"]
    if all(_has_names(group) for group in groups):
        return [group["param_names"] for group in groups]
    trained = [name for name, value in _model(runner).named_parameters() if value.requires_grad]
    if len(groups) == len(trained) and all(len(group["params"]) == 1 for group in groups):
        return [[name] for name in trained]  # in the order of the model's parameters
    return None


def _flat(groups: list[list[str]]) -> list[str]:
    return sorted(name for names in groups for name in names)


def _has_names(group: State) -> bool:
    names = group.get("param_names")
    return (
        isinstance(names, list)
        and len(names) == len(group["params"])
        and all(isinstance(name, str) for name in names)
    )


def _regroup_state(
    state: State,
    stored: list[list[str]],
    current: list[list[str]],
    wrapper: OptimWrapper,
    runner: Runner,
) -> list[int]:
    """Renumber the state, and return for each group the index of its first stored group."""
    groups = state["param_groups"]
    numbers = {
        name: number
        for group, names in zip(groups, stored, strict=True)
        for name, number in zip(names, group["params"], strict=True)
    }
    places = {name: place for place, names in enumerate(stored) for name in names}
    moments, regrouped, firsts, count = {}, [], [], 0
    for names, own in zip(current, wrapper.optimizer.param_groups, strict=True):
        sources = [groups[places[name]] for name in names]
        _require_alike(sources, names, runner)
        kept = {key: own[key] for key in (*IMPLEMENTATIONS, "param_names") if key in own}
        settings = {key: value for key, value in sources[0].items() if key not in PARAMETERS}
        params = list(range(count, count + len(names)))
        regrouped.append({**settings, **kept, "params": params})
        for name, number in zip(names, params, strict=True):
            if numbers[name] in state["state"]:
                moments[number] = state["state"][numbers[name]]
        firsts.append(places[names[0]])
        count += len(names)
    state["state"], state["param_groups"] = moments, regrouped
    return firsts


def _require_alike(sources: list[State], names: list[str], runner: Runner) -> None:
    """Check that parameters that form one group have equal learning rates and settings."""
    skipped = (*PARAMETERS, *IMPLEMENTATIONS)
    for source, name in zip(sources, names, strict=True):
        for key, value in source.items():
            if key not in skipped and key in sources[0] and repr(value) != repr(sources[0][key]):
                raise CheckpointError(
                    f"{runner._load_from}: {key} is {value} for {name} and {sources[0][key]} for "
                    f"{names[0]}, which are in one parameter group of this config. Resume with the "
                    "optim_wrapper.paramwise_cfg of the checkpoint"
                )


def _regroup_schedule(scheduler: Any, count: int, firsts: list[int]) -> None:
    """Map the per-group values of a scheduler to the config's groups."""
    if not isinstance(scheduler, dict):
        return
    for key in GROUP_VALUES:
        value = scheduler.get(key)
        # MMEngine appends the settings of the whole optimizer to those of its groups.
        if isinstance(value, list) and len(value) in (count, count + 1):
            scheduler[key] = [*(value[first] for first in firsts), *value[count:]]
