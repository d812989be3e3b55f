"""Conversion of official training state: epoch, optimizer moments, averaged weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smallvit.errors import ConversionError

from .conversion import accepting_map, convert, unwrap
from .system import get_system

_OPTIMIZERS = ("optimizer", "optimizer_state")
_AVERAGES = ("model_ema", "state_dict_ema", "ema_state", "ema")
_SLOTS = ("exp_avg", "exp_avg_sq", "momentum_buffer")


#: Exceptions that values of unexpected types raise in a conversion.
_NO_STATE = (
    AttributeError,
    IndexError,
    KeyError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)


@dataclass
class TrainingState:
    """Training state other than the weights.

    Args:
        epoch (int): Number of completed epochs.
        iteration (int, optional): Number of completed iterations, if the file contains it.
            Defaults to None.
        moments (dict[str, dict[str, Tensor]]): State of the optimizer, e.g. ``exp_avg``, by our
            parameter names. Defaults to none.
        average (dict[str, Tensor], optional): State dict of averaged weights. Defaults to None.
    """

    epoch: int
    iteration: int | None = None
    moments: dict[str, dict[str, Any]] = field(default_factory=dict)
    average: dict[str, Any] | None = None

    def as_plain(self) -> dict[str, Any]:
        """The fields as a dict of tensors and plain values, as stored in a checkpoint."""
        return dict(vars(self))


def averaged_weights(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Get the averaged weights of an official checkpoint.

    Args:
        checkpoint (Mapping): Content of an official checkpoint file.

    Returns:
        dict[str, Tensor]: Official state dict.

    Raises:
        ConversionError: If it has no averaged weights.
    """
    for name in _AVERAGES:
        if isinstance(checkpoint.get(name), Mapping):
            return unwrap({"state_dict": checkpoint[name]})
    raise ConversionError(
        f"no averaged weights: expected one of {', '.join(map(repr, _AVERAGES))} in the "
        f"checkpoint, got {', '.join(map(repr, list(checkpoint)[:8]))}",
        [],
        [],
    )


def convert_training(system: str, checkpoint: Mapping[str, Any]) -> TrainingState:
    """Convert the training state of an official checkpoint.

    The optimizer numbers its parameters. Their names follow from the order of the official
    parameter groups, and each shape is checked.

    Args:
        system (str): Name of the system.
        checkpoint (Mapping): Official checkpoint with optimizer state.

    Returns:
        TrainingState: Training state with our parameter names.

    Raises:
        KeyError: If the system does not exist.
        ConversionError: If the checkpoint has no optimizer state, or it does not match.
    """
    optimizer = next(
        (checkpoint[name] for name in _OPTIMIZERS if isinstance(checkpoint.get(name), Mapping)),
        None,
    )
    if optimizer is None or not {"state", "param_groups"} <= set(optimizer):
        raise ConversionError(
            "no training state: the checkpoint has no optimizer. Convert only its weights",
            [],
            [],
        )
    state = unwrap(checkpoint)
    names = accepting_map(system, state).parameters(state)
    try:
        average = convert(system, averaged_weights(checkpoint))
    except ConversionError:
        average = None
    try:
        by_name = _named(system, optimizer, {name: state[name] for name in names})
        epoch, iteration = _progress(checkpoint, by_name)
        moments = _moments(system, state, names, by_name)
    except _NO_STATE as error:
        reason = f"{type(error).__name__}: {str(error)[:80]}"
        raise ConversionError(
            f"no training state: epoch or optimizer are not in torch's format ({reason})",
            [],
            [],
        ) from error
    return TrainingState(epoch, iteration, moments, average)


def _progress(checkpoint: Mapping, by_name: Mapping[str, Mapping]) -> tuple[int, int | None]:
    meta = checkpoint.get("meta") or {}
    if "epoch" in meta:  # mmcv counts completed epochs
        return int(meta["epoch"]), int(meta["iter"])
    if "epoch" not in checkpoint:
        raise ConversionError("no training state: the checkpoint has no epoch", [], [])
    steps = [int(entry["step"]) for entry in by_name.values() if "step" in entry]
    return int(checkpoint["epoch"]) + 1, max(steps, default=None)


def _named(system: str, optimizer: Mapping, parameters: Mapping) -> dict[str, Mapping]:
    """Optimizer entries by official parameter name."""
    groups = optimizer["param_groups"]
    sizes = [len(group["params"]) for group in groups]
    dims = {name: value.dim() for name, value in parameters.items()}
    if len(groups) > 4 and set(sizes) == {1}:  # mmcv makes a group of each parameter
        expected = [[name] for name in dims]
    else:
        expected = get_system(system).grouping(dims, sizes)
    if len(expected) != len(groups) or any(map(_is_shorter, sizes, expected)):
        raise ConversionError(
            f"expected {_counts(map(len, expected))} parameters in the optimizer's groups as in "
            f"the official code, got {_counts(sizes)}: optimizer and weights are of different "
            "models",
            [],
            [],
        )
    named = {}
    for group, group_names in zip(groups, expected, strict=True):
        # Longer groups end with parameters that are trained but not in the state dict.
        for number, name in zip(group["params"], group_names, strict=False):
            entry = optimizer["state"].get(number)
            if entry:
                _check_shapes(name, entry, parameters[name])
                named[name] = {"step": group["step"], **entry} if "step" in group else entry
    return named


def _is_shorter(size: int, names: Sequence[str]) -> bool:
    return size < len(names)


def _counts(sizes) -> str:
    return "(" + ", ".join(map(str, sizes)) + ")"


def _check_shapes(name: str, entry: Mapping, parameter) -> None:
    for slot in _SLOTS:
        moment = entry.get(slot)
        if moment is not None and moment.shape != parameter.shape:
            raise ConversionError(
                f"expected the optimizer's {slot} for {name} to have shape "
                f"{tuple(parameter.shape)}, got {tuple(moment.shape)}: its parameters are in a "
                "different order",
                [name],
                [],
            )


def _moments(
    system: str, state: Mapping, names: Sequence[str], by_name: Mapping[str, Mapping]
) -> dict[str, dict[str, Any]]:
    """Convert each kind of moment with the key map, like weights."""
    import torch

    def translate(values: Mapping) -> dict[str, Any]:
        empty = {name: torch.zeros_like(state[name], dtype=torch.float32) for name in names}
        return convert(system, {**state, **empty, **values})

    has = {name: torch.ones_like(state[name], dtype=torch.float32) for name in by_name}
    # Entries other than parameters are not compared: use the same values in both.
    there, nowhere = translate(has), translate({})
    ours = [key for key, value in there.items() if not torch.equal(value, nowhere[key])]
    steps = max(
        (float(entry["step"]) for entry in by_name.values() if "step" in entry), default=None
    )
    moments: dict[str, dict[str, Any]] = {key: {} for key in ours}
    for slot in _SLOTS:
        values = {name: entry[slot] for name, entry in by_name.items() if slot in entry}
        values = {name: value for name, value in values.items() if value is not None}
        if values:
            translated = translate(values)
            for key in ours:
                moments[key][slot] = translated[key].clone()
    if steps is not None:
        for entry in moments.values():
            entry["step"] = torch.tensor(steps)
    return moments
