"""Files of weights as timm reads them: other names, position embeddings of other sizes."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from torch import Tensor, nn

from smallvit.errors import CheckpointError

#: What networks of timm are called where they are a part of another.
PREFIXES = ("backbone.", "timm_model.", "model.")


def timm_network(module: nn.Module) -> nn.Module | None:
    """Find the network of timm in a backbone or a TimmClassifier.

    Args:
        module (nn.Module): The backbone or classifier.

    Returns:
        nn.Module | None: None if there is none.
    """
    found = getattr(module, "timm_model", getattr(module, "model", None))
    return found if type(found).__module__.startswith("timm.") else None


def as_timm_reads(network: nn.Module, state: Mapping[str, Any], path: str) -> dict[str, Tensor]:
    """Take the weights of a file by timm's names, as timm makes them out of it.

    Args:
        network (nn.Module): A network of timm.
        state (Mapping[str, Any]): The state dict of the file.
        path (str): The file, for errors.

    Returns:
        dict[str, Tensor]: By the names of the network.

    Raises:
        CheckpointError: If timm cannot make anything of it.
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
    except Exception as error:  # whatever another network's names and shapes lead to
        raise CheckpointError(
            f"{path} is not a checkpoint of timm's {type(network).__name__}, whose reader raised "
            f"{type(error).__name__}: {error}"
        ) from error
