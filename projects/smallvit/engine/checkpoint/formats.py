"""Checkpoint file formats: torch and safetensors."""

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

#: The header limit of the safetensors library, which the library itself enforces.
MAX_HEADER = 100_000_000
#: Metadata entries that are stored as JSON.
STRUCTURED = ("prediction_config", "multi_exit", "dataset_meta")
_TEXTS = ("prediction_config",)


def read_safetensors(path: str, map_location: Any = None) -> dict:
    """Read a safetensors file as a checkpoint of weights.

    Args:
        path (str): Path of the file.
        map_location (Any): A device, as for :func:`torch.load`. Defaults to None, the CPU.

    Returns:
        dict: ``state_dict`` and the file's ``meta`` with string values; entries named in
            :data:`STRUCTURED` are parsed and placed as in other checkpoints.

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
    """Move parsed metadata to where readers of checkpoints expect it."""
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
    """Write weights to a safetensors file atomically, with its SHA-256 in a second file.

    Args:
        path (str): Path to write.
        tensors (dict[str, Tensor]): The weights by name.
        meta (dict, optional): Metadata; values that are not strings are
            written as JSON. Defaults to None.
    """
    from safetensors.torch import save

    # The format refuses tensors that share memory, so each is copied.
    own = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    texts = {
        str(key): value if isinstance(value, str) else json.dumps(value)
        for key, value in (meta or {}).items()
    }
    write_with_digest(path, save(own, metadata=texts))


def write_checkpoint(path: str | os.PathLike, content: Mapping[str, Any]) -> None:
    """Write a checkpoint in torch's format atomically.

    Args:
        path (str | os.PathLike): Path to write; an existing file is replaced.
        content (Mapping): Tensors and plain values.

    Raises:
        OSError: If it cannot be written.
    """
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        try:
            torch.save(dict(content), file)
        except RuntimeError as error:
            # After a failed write, torch raises again on closing the archive and hides the cause.
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
