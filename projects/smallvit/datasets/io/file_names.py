"""Cached recursive listing of the files in a folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

from mmengine.fileio import LocalBackend, get_file_backend, list_dir_or_file

#: Minimum age of a modification time in nanoseconds for a list to be cached: the resolution of
#: modification times is up to two seconds, depending on the file system.
SETTLED = 2_000_000_000
#: Maximum number of folders whose file list is cached.
KEPT = 4096

_lists: dict[str, tuple[tuple[str, ...], dict[str, int]]] = {}


def list_files(folder: str) -> list[str]:
    """List the files in a folder and its subfolders.

    Hidden files and folders (names that start with a dot) are ignored. The list of a local folder
    is cached until the folder or one of its subfolders changes.

    Args:
        folder (str): Path or URL of the folder.

    Returns:
        list[str]: Sorted paths relative to the folder, with ``/`` as separator.
    """
    if not isinstance(get_file_backend(folder, enable_singleton=True), LocalBackend):
        found = (one.replace("\\", "/") for one in list_dir_or_file(folder, False, recursive=True))
        return sorted(name for name in found if "/." not in f"/{name}")
    key = os.path.abspath(folder)
    if key not in _lists or not _is_unchanged(_lists[key][1]):
        changes: dict[str, int] = {}
        files = tuple(sorted(_walk(key, "", changes)))
        while len(_lists) >= KEPT:
            del _lists[next(iter(_lists))]
        _lists[key] = files, changes
    return list(_lists[key][0])


def _walk(folder: str, start: str, changes: dict[str, int]) -> Iterator[str]:
    """Yield relative paths, and record the modification time of each folder (0 if recent)."""
    changed = os.stat(folder).st_mtime_ns
    changes[folder] = changed if time.time_ns() - changed > SETTLED else 0
    deeper = []
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                continue
            if entry.is_file():
                yield start + name
            elif entry.is_dir():
                deeper.append(name)
    for name in deeper:
        yield from _walk(os.path.join(folder, name), f"{start}{name}/", changes)


def _is_unchanged(changes: dict[str, int]) -> bool:
    try:
        return all(os.stat(folder).st_mtime_ns == changed for folder, changed in changes.items())
    except OSError:
        return False
