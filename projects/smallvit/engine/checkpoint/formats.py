"""Checkpoints as files: torch's format, and safetensors."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from smallvit.engine.checkpoint.digests import check_digest, write_with_digest
from smallvit.errors import CheckpointError
from smallvit.utils.files import whole_file

#: The limit of the safetensors library on the header, which it looks at itself.
MAX_HEADER = 100_000_000
#: Metadata that is no word of its own: JSON.
STRUCTURED = ("prediction_config", "multi_exit", "dataset_meta")
_TEXTS = ("prediction_config",)


def read_safetensors(path: str, map_location: Any = None) -> dict:
    """Read a safetensors file as a checkpoint of weights.

    Args:
        path (str): The file.
        map_location (Any): A device, as for :func:`torch.load`. Defaults to None, the CPU.

    Returns:
        dict: ``state_dict``, and the file's ``meta`` with strings as values; what
            :data:`STRUCTURED` names of it as in other checkpoints.

    Raises:
        CheckpointError: If the file is damaged.
    """
    from safetensors import SafetensorError, safe_open

    check_digest(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            meta = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged or not safetensors ({error})") from error
    if isinstance(map_location, (str, torch.device)):
        tensors = {name: tensor.to(map_location) for name, tensor in tensors.items()}
    return {"state_dict": tensors, "meta": meta, **_structured(meta, path)}


def _structured(meta: dict[str, Any], path: str) -> dict[str, Any]:
    """Move what readers of checkpoints look for to where they do."""
    found = {}
    for key in [key for key in STRUCTURED if key in meta]:
        try:
            value = meta.pop(key)
            value = value if key in _TEXTS else json.loads(value)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"{path}: its {key} is damaged: {error}") from error
        (meta if key == "dataset_meta" else found)[key] = value
    return found


def write_safetensors(path: str, tensors: dict[str, Tensor], meta: dict | None = None) -> None:
    """Write weights as a safetensors file, whole, with its SHA-256 beside it.

    Args:
        path (str): The file.
        tensors (dict[str, Tensor]): The weights.
        meta (dict, optional): What to store with them; values that are not strings are
            written as JSON. Defaults to None.
    """
    from safetensors.torch import save

    # A tensor that shares its memory with another is refused by the format.
    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    texts = {
        str(key): value if isinstance(value, str) else json.dumps(value)
        for key, value in (meta or {}).items()
    }
    write_with_digest(path, save(own, metadata=texts))


def write_checkpoint(path: str | os.PathLike, content: Mapping[str, Any]) -> None:
    """Write a checkpoint in torch's format, whole.

    Args:
        path (str | os.PathLike): The file; what is there is replaced.
        content (Mapping): Tensors and plain values.

    Raises:
        OSError: If it cannot be written.
    """
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        try:
            torch.save(dict(content), file)
        except RuntimeError as error:
            # torch closes its archive after a write that failed, and complains of that instead.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
