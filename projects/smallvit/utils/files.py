"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from contextlib import suppress


def write_whole(path: str, content: bytes | str) -> None:
    """Write a file so that it is there as a whole or not at all.

    Args:
        path (str): The file.
        content (bytes | str): What it holds.
    """
    temporary = f"{path}.incomplete"
    try:
        with open(temporary, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            flush_to_disk(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        remove_quietly(temporary)
        raise
    flush_folder(os.path.dirname(path))


def remove_quietly(path: str) -> None:
    """Remove a file that may not be there.

    Args:
        path (str): The file.
    """
    with suppress(OSError):
        os.remove(path)


def flush_to_disk(descriptor: int) -> None:
    """Wait until a file's content is on the disk.

    Args:
        descriptor (int): Its file descriptor.
    """
    os.fsync(descriptor)


def flush_folder(folder: str) -> None:
    """Wait until the names in a folder are on the disk, where the system can do that.

    Args:
        folder (str): The folder.
    """
    try:
        descriptor = os.open(folder or ".", os.O_RDONLY)
    except OSError:
        return  # Windows opens no folders
    with suppress(OSError):  # some network file systems cannot
        os.fsync(descriptor)
    os.close(descriptor)
