"""Official checkpoints where one of ours is expected: ``dwnet::FILE`` or ``dwnet::https://...``.

The name before ``::`` is a system of :mod:`smallvit.converters`. The file is read as data and
converted strictly, once: the result is kept by the SHA-256 of the file.
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
#: Changes where a conversion does, so that what was kept before is not used.
REVISION = 1


def split_official(name: str) -> tuple[str, str] | None:
    """Take the name of an official checkpoint apart.

    Args:
        name (str): What is given as a checkpoint.

    Returns:
        tuple[str, str] | None: System, and file or address; None if it is no official one.
    """
    system, mark, rest = name.partition(MARK)
    return (system, rest) if mark and system in SYSTEM_NAMES else None


def load_official(
    name: str, path: str, read: Callable[..., dict], map_location: Any = None
) -> dict[str, Any]:
    """Read an official checkpoint as one of ours.

    Args:
        name (str): With the system before it.
        path (str): The file, which is there.
        read (Callable): Reads a local checkpoint as data.
        map_location (Any): As for :func:`torch.load`. Defaults to None.

    Returns:
        dict[str, Any]: With ``state_dict``.

    Raises:
        CheckpointError: If it is damaged, or not of the system.
    """
    system, _ = split_official(name)
    kept = osp.join(_folder(), f"{system}-{REVISION}-{file_sha256(path)}.pth")
    if osp.isfile(kept):
        with suppress(CheckpointError):  # a damaged one is made again
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
