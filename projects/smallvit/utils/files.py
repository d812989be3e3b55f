"""Atomic file writing."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: Suffix of the stem of temporary files.
INCOMPLETE = ".incomplete"


#: Error numbers of failed writes; their exceptions do not contain a file name.
_FAILED_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[str]:
    """Context that writes a file under a temporary name and renames it on success.

    Each writer uses a unique temporary name, so that concurrent writers do not interfere. The name
    keeps the file extension, from which many writers infer the format. (``torch.save`` stores the
    name of the path in the file: pass it an open file.)

    Args:
        path (str | os.PathLike): Path to write; an existing file is replaced.

    Yields:
        str: Temporary path in the same folder. If the block raises, this file is removed.
    """
    path = os.fspath(path)
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    temporary = os.path.join(folder, f".{stem}.{secrets.token_hex(4)}{INCOMPLETE}{suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:  # Windows cannot flush a file opened write-only
            flush_to_disk(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        remove_quietly(temporary)
        if isinstance(error, OSError) and _is_of(error, temporary):
            error.filename = path
        raise
    flush_folder(folder)


def _is_of(error: OSError, temporary: str) -> bool:
    if error.filename is None:
        return error.errno in _FAILED_WRITE
    return error.filename == temporary


def write_whole(path: str | os.PathLike, content: bytes | str) -> None:
    """Write a file atomically.

    Args:
        path (str | os.PathLike): Path to write.
        content (bytes | str): Content of the file; text is encoded as UTF-8.
    """
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


def remove_quietly(path: str) -> None:
    """Remove a file if it exists.

    Args:
        path (str): Path of the file.
    """
    with suppress(OSError):
        os.remove(path)


def flush_to_disk(descriptor: int) -> None:
    """Flush the content of a file to disk.

    Args:
        descriptor (int): File descriptor of the open file.
    """
    os.fsync(descriptor)


def flush_folder(folder: str) -> None:
    """Flush the directory entries of a folder to disk, where the system supports it.

    Args:
        folder (str): Path of the folder.
    """
    try:
        descriptor = os.open(folder or ".", os.O_RDONLY)
    except OSError:
        return  # Windows cannot open folders
    with suppress(OSError):  # not supported by some network file systems
        os.fsync(descriptor)
    os.close(descriptor)
