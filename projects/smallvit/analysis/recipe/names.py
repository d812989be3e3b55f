"""Official parameter names of a model, from its converter."""

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
    """Parameter, or constant that is stored like a parameter.

    Args:
        value (Tensor): Parameter or constant of any shape.
        sources (tuple[str, ...]): Names of our parameters from which it is computed.
    """

    value: Tensor
    sources: tuple[str, ...]


def system_of(cfg: Config) -> str | None:
    """Find the published system to which a config belongs.

    Args:
        cfg (Config): Config that was read from a file.

    Returns:
        str | None: Name of the system; None if the file is in another folder.
    """
    folder = Path(cfg.filename).parent.name if cfg.filename else ""
    return folder if folder in SYSTEM_NAMES else None


def named_tensors(model: nn.Module, system: str | None = None) -> dict[str, NamedTensor]:
    """List the parameters and constants of a model by name.

    Args:
        model (nn.Module): Network to inspect.
        system (str, optional): System whose official names are used, if its converter supports the
            model. Defaults to None: our names.

    Returns:
        dict[str, NamedTensor]: Tensors by name. With our names, parameters only; with official
        names also constants that are parameters there, such as a fixed position embedding.
    """
    official = None if system is None else _official(model.state_dict(), system)
    if official is not None:
        return official
    return {
        name: NamedTensor(parameter.detach(), (name,))
        for name, parameter in model.named_parameters()
    }


def _official(state: Mapping[str, Tensor], system: str) -> dict[str, NamedTensor] | None:
    """Convert a state dict to official names, and trace each entry to the original ones."""
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
        # Constants that the official model computes, such as masks, have no original entry.
        if made_of and all(0 < number <= len(names) for number in made_of):
            sources = tuple(names[number - 1] for number in made_of)
            found[key] = NamedTensor(values[key], sources)
    return found


def kind_of(name: str, value: Tensor) -> str:
    """Reduce a parameter name to its kind.

    Args:
        name (str): Name such as ``blocks.3.norm1.weight``.
        value (Tensor): Parameter with that name.

    Returns:
        str: Name with digits replaced by ``#`` and the number of dimensions, such as
        ``blocks.#.norm#.weight [1d]``.
    """
    return f"{re.sub(r'[0-9]+', '#', name)} [{value.dim()}d]"
