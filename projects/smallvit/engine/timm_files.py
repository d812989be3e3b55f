"""Conversion of weight files as in timm: parameter names, and sizes of position embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from smallvit.errors import CheckpointError

#: Prefixes of the names of a timm model that is part of another model.
PREFIXES = ("backbone.", "timm_model.", "model.")


def timm_network(module: nn.Module) -> nn.Module | None:
    """Get the timm model in a backbone or TimmClassifier.

    Args:
        module (nn.Module): Backbone or classifier that may wrap a timm model.

    Returns:
        nn.Module | None: The timm model; None if there is none.
    """
    found = getattr(module, "timm_model", getattr(module, "model", None))
    return found if type(found).__module__.startswith("timm.") else None


def as_timm_reads(network: nn.Module, state: Mapping[str, Any], path: str) -> dict[str, Tensor]:
    """Convert the weights of a file to the names and shapes of a timm model, as timm does.

    Args:
        network (nn.Module): Model of timm.
        state (Mapping[str, Any]): State dict of the file.
        path (str): Path of the file, for errors.

    Returns:
        dict[str, Tensor]: Weights with the names of the model.

    Raises:
        CheckpointError: If timm cannot convert them.
    """
    plain = {}
    for key, value in state.items():
        for prefix in PREFIXES:
            key = key.removeprefix(prefix)
        plain[key] = value
    module = import_module(type(network).__module__)
    read = getattr(module, "checkpoint_filter_fn", None)
    if read is None:
        return plain
    try:
        return dict(read(plain, network))
    except Exception as error:  # names and shapes of another network raise various errors
        raise CheckpointError(
            f"{path} is not a checkpoint of timm's {type(network).__name__}: reading it raised "
            f"{type(error).__name__}: {error}"
        ) from error
