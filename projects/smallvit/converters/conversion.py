"""Conversion of official state dicts in both directions."""

from collections.abc import Callable, Mapping
from typing import Any

from smallvit.errors import ConversionError

from .keymap import KeyMap
from .system import SYSTEM_NAMES, OfficialModel, System, get_system
from .translate import Translation

_WRAPPERS = ("state_dict", "model", "model_state", "model_state_dict")
_LISTED = 20


def official_models() -> dict[str, OfficialModel]:
    """List all models that the official repositories define.

    Returns:
        dict[str, OfficialModel]: Records by the name of the official model or config. Each has at
        least ``system`` and ``config`` (absolute path of our config), readable as attributes or
        as keys.
    """
    return {
        name: record
        for system in SYSTEM_NAMES
        for name, record in get_system(system).models.items()
    }


def unwrap(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Extract the state dict of a checkpoint.

    Unpacks ``state_dict``, ``model``, ``model_state`` and ``model_state_dict``, and removes the
    prefix ``module.`` of data-parallel wrappers and PyTorch's extra state.

    Args:
        checkpoint (Mapping): Checkpoint or state dict.

    Returns:
        dict[str, Tensor]: The state dict.

    Raises:
        ConversionError: If a value is not a tensor.
    """
    if not isinstance(checkpoint, Mapping):
        raise ConversionError(
            f"not a state dict: expected a dict of tensors, got {type(checkpoint).__name__}",
            [],
            [],
        )
    state = checkpoint
    for name in _WRAPPERS:
        if isinstance(state.get(name), Mapping):
            state = state[name]
            break
    if state and all(key.startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    # Keys under which PyTorch stores module state other than weights.
    state = {key: value for key, value in state.items() if not key.endswith("_extra_state")}
    odd = [key for key, value in state.items() if not hasattr(value, "shape")]
    if odd or not state:
        found = f"{_enumerate(odd)} are not tensors" if odd else "it is empty"
        raise ConversionError(
            f"not a state dict: {found}. Expected a dict of tensors, or a checkpoint with one "
            f"under {', '.join(map(repr, _WRAPPERS))}",
            odd,
            [],
        )
    return dict(state)


def convert(system: str, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Convert an official state dict for the model built from our config.

    The keys are those of the whole model, such as ``backbone.*`` and ``head.*``. Every official
    key is translated, or known to be computed by the model. The number of classes is that of the
    checkpoint.

    Args:
        system (str): Name of the system, e.g. ``dwnet``.
        state_dict (Mapping[str, Tensor]): Official state dict, or a checkpoint that contains it.

    Returns:
        dict[str, Tensor]: State dict of our model.

    Raises:
        KeyError: If the system does not exist.
        ConversionError: If keys are unknown or missing. The message lists them, and the system
            that accepts the checkpoint, if any.
    """
    return _translate(get_system(system), unwrap(state_dict), KeyMap.forward)[1].state


def revert(system: str, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a state dict of our model to official keys.

    Args:
        system (str): Name of the system.
        state_dict (Mapping[str, Tensor]): State dict of our model, or a checkpoint that contains
            it.

    Returns:
        dict[str, Tensor]: Official state dict; :func:`convert` restores the same tensors.

    Raises:
        KeyError: If the system does not exist.
        ConversionError: If a key is unknown or missing.
    """
    return _translate(get_system(system), unwrap(state_dict), KeyMap.backward)[1].state


def accepting_map(system: str, state_dict: Mapping[str, Any]) -> KeyMap:
    """Identify the architecture of an official state dict.

    Args:
        system (str): Name of the system.
        state_dict (Mapping[str, Tensor]): Official state dict.

    Returns:
        KeyMap: Key map that accepts it.

    Raises:
        KeyError: If the system does not exist.
        ConversionError: If a key is unknown or missing.
    """
    return _translate(get_system(system), state_dict, KeyMap.forward)[0]


def identify(system: str, state_dict: Mapping[str, Any]) -> tuple[KeyMap, list[str]]:
    """Identify the architecture of an official state dict and the models that match it.

    Args:
        system (str): Name of the system.
        state_dict (Mapping[str, Tensor]): Official state dict, or a checkpoint that contains it.

    Returns:
        tuple[KeyMap, list[str]]: Key map that accepts the state dict, and names of the official
        models with the same shapes.

    Raises:
        KeyError: If the system does not exist.
        ConversionError: If a key is unknown or missing.
    """
    state = unwrap(state_dict)
    key_map, _ = _translate(get_system(system), state, KeyMap.forward)
    names = [
        name
        for name, record in get_system(system).models.items()
        if record.architecture == key_map.name and record.fits(state)
    ]
    return key_map, names


Direction = Callable[[KeyMap, Mapping], Translation]


def _translate(system: System, state: Mapping, direction: Direction) -> tuple[KeyMap, Translation]:
    key_map, result = _best(system, state, direction)
    if not result.accepted:
        raise _refusal(system.name, key_map, result, _others(system.name, state, direction))
    return key_map, result


def _best(system: System, state: Mapping, direction: Direction) -> tuple[KeyMap, Translation]:
    attempts = []
    for key_map in system.architectures.values():
        result = direction(key_map, state)
        if result.accepted:
            return key_map, result
        attempts.append((len(result.unknown) + len(result.missing), key_map, result))
    return min(attempts, key=lambda attempt: attempt[0])[1:]


def _others(system: str, state: Mapping, direction: Direction) -> list[str]:
    return [
        other
        for other in SYSTEM_NAMES
        if other != system and _best(get_system(other), state, direction)[1].accepted
    ]


def _refusal(
    system: str, key_map: KeyMap, result: Translation, others: list[str]
) -> ConversionError:
    lines = [f"not a {system} checkpoint (closest architecture: {key_map.name})"]
    if result.unknown:
        lines.append(f"{len(result.unknown)} unknown keys: {_enumerate(result.unknown)}")
    if result.missing:
        lines.append(f"{len(result.missing)} missing keys: {_enumerate(result.missing)}")
    if others:
        lines.append(f"system {' or '.join(map(repr, others))} accepts this checkpoint")
    return ConversionError("\n  ".join(lines), result.unknown, result.missing)


def _enumerate(keys: list[str]) -> str:
    more = f" and {len(keys) - _LISTED} more" if len(keys) > _LISTED else ""
    return ", ".join(map(repr, keys[:_LISTED])) + more
