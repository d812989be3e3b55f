"""File formats of weights: what to check before reading one, and safetensors."""

from __future__ import annotations

import json
import os
import zipfile
from typing import Any

import torch
from torch import Tensor

from smallvit.errors import CheckpointError
from smallvit.utils.files import write_whole

#: torch stores tensors as they are; more growth than this is no checkpoint.
MAX_GROWTH = 4
_SLACK = 1 << 20
#: The limit of the safetensors library on the header.
MAX_HEADER = 100_000_000


def check_archive(path: str) -> None:
    """Refuse a zip archive that would grow far beyond its size when it is read.

    Args:
        path (str): A checkpoint; one that is no archive passes.

    Raises:
        CheckpointError: If it is a zip bomb.
    """
    if not zipfile.is_zipfile(path):
        return
    size = os.path.getsize(path)
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    grown = sum(entry.file_size for entry in entries)
    stored = sum(entry.compress_size for entry in entries)
    if stored > size:
        raise CheckpointError(
            f"{path}: its entries overlap ({stored} bytes in a file of {size}): a zip bomb, and "
            "not loaded"
        )
    if grown > MAX_GROWTH * size + _SLACK:
        raise CheckpointError(
            f"{path}: would grow from {size} to {grown} bytes: a zip bomb, and not loaded"
        )


def read_safetensors(path: str, map_location: Any = None) -> dict:
    """Read a safetensors file as a checkpoint of weights.

    Args:
        path (str): The file.
        map_location (Any): A device, as for :func:`torch.load`. Defaults to None, the CPU.

    Returns:
        dict: ``state_dict``, and the file's ``meta`` with strings as values.

    Raises:
        CheckpointError: If the file is damaged or its header is not plausible.
    """
    from safetensors import SafetensorError, safe_open

    _check_header(path)
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            meta = dict(file.metadata() or {})
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{path}: damaged or not safetensors ({error})") from error
    if isinstance(map_location, (str, torch.device)):
        tensors = {name: tensor.to(map_location) for name, tensor in tensors.items()}
    return {"state_dict": tensors, "meta": meta}


def _check_header(path: str) -> None:
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if size < 8 or length > min(size - 8, MAX_HEADER):
        raise CheckpointError(
            f"{path}: damaged or not safetensors (a header of {length} bytes in a file of {size})"
        )


def write_safetensors(path: str, tensors: dict[str, Tensor], meta: dict | None = None) -> None:
    """Write weights as a safetensors file, under a temporary name first.

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
    write_whole(path, save(own, metadata=texts))
