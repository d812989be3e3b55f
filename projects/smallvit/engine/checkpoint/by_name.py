"""Resume from optimizer state that is keyed by parameter name.

Optimizers number their parameters in the order of the parameter groups, and the iteration depends
on the length of the data loader. Both are unknown in a converted checkpoint, which contains the
epoch and the moments by parameter name. They are mapped to the optimizer of the run that resumes.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from mmengine.hooks import EMAHook
from mmengine.model import is_model_wrapper
from mmengine.optim import _ParamScheduler
from mmengine.runner import IterBasedTrainLoop, Runner

from smallvit.errors import CheckpointError

#: Checkpoint key of this state; see ``smallvit.converters.TrainingState``.
KEY = "training_state"


def adopt_training_state(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Convert optimizer state keyed by name to the form that MMEngine resumes, if there is any.

    The schedulers are stepped to the epoch, so that the next step uses the learning rate that the
    config prescribes for it.

    Args:
        runner (Runner): The runner that resumes, with its optimizer and schedulers built.
        checkpoint (dict[str, Any]): The loaded checkpoint, changed in place.

    Raises:
        CheckpointError: If the optimizer is of another type, or parameters have other shapes.
    """
    stored = checkpoint.pop(KEY, None)
    if stored is None:
        return
    epoch, iteration = _progress(runner, stored)
    loop = runner.train_loop
    for done, last in ((epoch, loop.max_epochs), (iteration, loop.max_iters)):
        if not isinstance(done, int) or not 0 <= done <= last:
            raise CheckpointError(
                f"{runner._load_from}: already trained for {done!r} of {last} epochs or iterations "
                "of this config: nothing is left to train"
            )
    checkpoint["meta"] = {**(checkpoint.get("meta") or {}), "epoch": epoch, "iter": iteration}
    checkpoint["message_hub"] = dict(log_scalars={}, runtime_info={}, resumed_keys={})
    for scheduler in runner.param_schedulers or []:
        _advance(scheduler, epoch if scheduler.by_epoch else iteration)
    checkpoint["param_schedulers"] = [s.state_dict() for s in runner.param_schedulers or []]
    checkpoint["optimizer"] = _optimizer_state(runner, stored["moments"])
    _adopt_average(runner, checkpoint, stored["average"], iteration)


def _progress(runner: Runner, stored: dict[str, Any]) -> tuple[int, int]:
    loop = runner.train_loop
    if isinstance(loop, IterBasedTrainLoop):
        if stored["iteration"] is None:
            raise CheckpointError(
                f"{runner._load_from} does not contain the number of iterations, which this config "
                "requires. Start a new training from its weights with load_from"
            )
        return 0, stored["iteration"]
    return stored["epoch"], stored["epoch"] * len(loop.dataloader)


def _advance(scheduler: _ParamScheduler, steps: int) -> None:
    if hasattr(scheduler, "jump"):
        scheduler.jump(steps)
        return
    for _ in range(steps):
        scheduler.step()


def _optimizer_state(runner: Runner, moments: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Fresh optimizer state with the learning rates of the schedulers and the stored moments."""
    model = runner.model.module if is_model_wrapper(runner.model) else runner.model
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    optimizer = runner.optim_wrapper.optimizer
    _check_kind(runner, optimizer, moments)
    state = runner.optim_wrapper.state_dict()
    state["state"] = {}
    left = set(moments)
    for group, numbered in zip(optimizer.param_groups, state["param_groups"], strict=True):
        for parameter, number in zip(group["params"], numbered["params"], strict=True):
            name = names[id(parameter)]
            if name in moments:
                left.discard(name)
                _check_shape(runner, name, parameter, moments[name])
                state["state"][number] = deepcopy(moments[name])
    if left:
        raise CheckpointError(
            f"{runner._load_from} has optimizer state of {len(left)} parameters that this config "
            f"does not train, e.g. {min(left)}. Resume with a matching config, or start a new "
            "training from its weights with load_from"
        )
    started = [name for name in names.values() if name not in moments]
    if started:
        runner.logger.info(
            f"the optimizer state is initialized for {len(started)} of {len(names)} parameters, "
            f"e.g. {started[0]}"
        )
    return state


def _check_kind(runner: Runner, optimizer: torch.optim.Optimizer, moments: dict) -> None:
    wanted = "momentum_buffer" if "momentum" in optimizer.defaults else "exp_avg"
    slots = {slot for entry in moments.values() for slot in entry}
    if moments and wanted not in slots:
        raise CheckpointError(
            f"{runner._load_from} contains the optimizer state "
            f"{', '.join(sorted(slots - {'step'}))}, but {type(optimizer).__name__} of this config "
            f"requires {wanted}. Start a new training from its weights with load_from"
        )


def _check_shape(runner: Runner, name: str, parameter: torch.Tensor, entry: dict) -> None:
    for slot, value in entry.items():
        if slot != "step" and value.shape != parameter.shape:
            raise CheckpointError(
                f"{runner._load_from}: expected {slot} of {name} to have shape "
                f"{tuple(parameter.shape)}, got {tuple(value.shape)}: the checkpoint is of another "
                "model"
            )


def _adopt_average(
    runner: Runner, checkpoint: dict[str, Any], average: dict | None, iteration: int
) -> None:
    """Convert the stored EMA to the layout of the run's EMA hook."""
    if average is None:
        return
    hook = next((hook for hook in runner.hooks if isinstance(hook, EMAHook)), None)
    if hook is None:
        runner.logger.info("the run has no EMA; the stored averaged weights are ignored")
        return
    weights, kept = checkpoint["state_dict"], dict(average)
    if getattr(hook, "exchanges", True):
        weights, kept = kept, weights
    checkpoint["state_dict"] = weights
    averaged = {f"module.{key}": value for key, value in kept.items()}
    checkpoint["ema_state_dict"] = {"steps": torch.tensor(iteration), **averaged}
