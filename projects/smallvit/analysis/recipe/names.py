"""Official parameter names of a model, found with the converters."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from mmengine.config import Config
from torch import Tensor, nn

from smallvit.converters import ConversionError, revert
from smallvit.converters.system import SYSTEM_NAMES
from smallvit.converters.templates import STATISTICS


@dataclass
class NamedTensor:
    """A parameter, or a constant that is stored with the parameters.

    Args:
        value (Tensor): Parameter or constant, of any shape.
        sources (tuple[str, ...]): Names in the model of what it is made of.
    """

    value: Tensor
    sources: tuple[str, ...]


def system_of(cfg: Config) -> str | None:
    """Find the published system in whose folder a config is.

    Args:
        cfg (Config): A config that was read from a file.

    Returns:
        str | None: Name of the system, None if the file is in another folder.
    """
    folder = Path(cfg.filename).parent.name if cfg.filename else ""
    return folder if folder in SYSTEM_NAMES else None


def named_tensors(model: nn.Module, system: str | None = None) -> dict[str, NamedTensor]:
    """Name the parameters and constants of a model.

    Args:
        model (nn.Module): Network whose parameters and buffers are listed.
        system (str, optional): Name of the system in whose official names they are given, if
            its converter knows the model. Defaults to None, our names.

    Returns:
        dict[str, NamedTensor]: Name to value. With our names, parameters only; with official
        ones also constants such as a fixed position embedding, which are parameters there.
    """
    official = None if system is None else _official(model.state_dict(), system)
    if official is not None:
        return official
    return {
        name: NamedTensor(parameter.detach(), (name,))
        for name, parameter in model.named_parameters()
    }


def _official(state: Mapping[str, Tensor], system: str) -> dict[str, NamedTensor] | None:
    """Convert a state dict to official names, and a copy that holds the index of each entry."""
    names = [
        key
        for key, value in state.items()
        if value.is_floating_point() and key.rpartition(".")[2] not in STATISTICS
    ]
    numbers = {key: float(number) for number, key in enumerate(names, start=1)}
    marked = {key: torch.full(value.shape, numbers.get(key, 0.0)) for key, value in state.items()}
    try:
        values, marks = revert(system, dict(state)), revert(system, marked)
    except ConversionError:
        return None
    found = {}
    for key, mark in marks.items():
        alike = mark.numel() > 0 and bool((mark == mark.flatten()[0]).all())
        made_of = [int(number) for number in (mark.flatten()[:1] if alike else mark.unique())]
        # Constants that the official model computes itself, such as masks, come from no entry.
        if made_of and all(0 < number <= len(names) for number in made_of):
            sources = tuple(names[number - 1] for number in made_of)
            found[key] = NamedTensor(values[key], sources)
    return found


def kind_of(name: str, value: Tensor) -> str:
    """Reduce a parameter name to its kind.

    Args:
        name (str): Such as ``blocks.3.norm1.weight``.
        value (Tensor): What has the name.

    Returns:
        str: The name with digits as ``#`` and the number of dimensions, such as
        ``blocks.#.norm#.weight [1d]``.
    """
    return f"{re.sub(r'[0-9]+', '#', name)} [{value.dim()}d]"
