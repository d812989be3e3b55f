"""Loading of official checkpoints by name: ``dwnet::FILE`` or ``dwnet::https://...``.

The name before ``::`` is a system of :mod:`smallvit.converters`. The file is read without running
code and converted strictly, once: the result is cached by the SHA-256 of the file.
"""

from __future__ import annotations

import os
import os.path as osp
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

import torch

from smallvit.converters.system import SYSTEM_NAMES
from smallvit.engine.checkpoint.digests import file_sha256
from smallvit.engine.checkpoint.formats import write_checkpoint
from smallvit.errors import CheckpointError, ConversionError

MARK = "::"
#: Version of the conversions; changing it invalidates cached results.
REVISION = 1


def split_official(name: str) -> tuple[str, str] | None:
    """Split the name of an official checkpoint.

    Args:
        name (str): Value of a checkpoint argument.

    Returns:
        tuple[str, str] | None: System, and path or URL; None if it is not an official checkpoint.
    """
    system, mark, rest = name.partition(MARK)
    return (system, rest) if mark and system in SYSTEM_NAMES else None


def load_official(
    name: str, path: str, read: Callable[..., dict], map_location: Any = None
) -> dict[str, Any]:
    """Load an official checkpoint, converted to smallvit's names.

    Args:
        name (str): Name of the checkpoint, with its system.
        path (str): Path of the local file.
        read (Callable): Function that reads a local checkpoint without running code.
        map_location (Any): See :func:`torch.load`. Defaults to None.

    Returns:
        dict[str, Any]: A checkpoint with ``state_dict``.

    Raises:
        CheckpointError: If it is damaged, or not a checkpoint of the system.
    """
    system, _ = split_official(name)
    kept = osp.join(_folder(), f"{system}-{REVISION}-{file_sha256(path)}.pth")
    if osp.isfile(kept):
        with suppress(CheckpointError):  # a damaged cache entry is converted again
            return read(kept, map_location)
    from smallvit.converters import convert

    try:
        state = convert(system, read(path, "cpu"))
    except ConversionError as error:
        raise CheckpointError(f"{name}: {error}") from error
    os.makedirs(osp.dirname(kept), exist_ok=True)
    write_checkpoint(kept, {"state_dict": state})
    return read(kept, map_location)


@cache
def _folder() -> str:
    return osp.join(torch.hub.get_dir(), "checkpoints", "converted")
