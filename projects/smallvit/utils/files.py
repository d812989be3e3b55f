"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress

#: Ends the stem of a file that is not whole yet.
INCOMPLETE = ".incomplete"


#: What a disk says of a write, which names no file.
_FAILED_WRITE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextmanager
def whole_file(path: str | os.PathLike) -> Iterator[str]:
    """Let a file be written under a temporary name, and give it its own when it is whole.

    Each writer has a name of its own, so that two of them do not disturb each other. It has
    the ending of the file, by which many writers choose a format. (``torch.save`` keeps the
    name of a path inside the file: give it an open file.)

    Args:
        path (str | os.PathLike): The file; what is there is replaced.

    Yields:
        str: Path to write, in the same folder. If the block raises, that file is removed.
    """
    path = os.fspath(path)
    folder, name = os.path.split(path)
    stem, suffix = os.path.splitext(name)
    temporary = os.path.join(folder, f".{stem}.{secrets.token_hex(4)}{INCOMPLETE}{suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:  # Windows flushes what is open for writing alone
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
    """Write a file so that it is there as a whole or not at all.

    Args:
        path (str | os.PathLike): The file.
        content (bytes | str): What it holds; a text is written in UTF-8.
    """
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)


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
