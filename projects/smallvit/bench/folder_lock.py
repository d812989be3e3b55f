"""Lock that allows one bench at a time in a folder; reading needs no lock."""

from __future__ import annotations

import errno
import os.path as osp
from collections.abc import Iterator
from contextlib import contextmanager

from smallvit.errors import UserError
from smallvit.utils.locks import HeldError, hold, release

#: Error numbers of a folder that cannot be written, or of a path that is no folder.
_UNWRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST)


@contextmanager
def writing(out: str) -> Iterator[None]:
    """Context manager that names ``--out`` if the folder cannot be written.

    Args:
        out (str): Folder of the bench.

    Yields:
        None: No value.

    Raises:
        UserError: If a file in the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _UNWRITABLE:
            raise
        raise UserError(
            f"cannot write {error.filename or out}: {error.strerror}; use another --out, or a copy "
            "of the folder that you may write"
        ) from error


@contextmanager
def lock_folder(out: str) -> Iterator[None]:
    """Context manager that locks a folder against other benches.

    Args:
        out (str): Folder of the bench.

    Yields:
        None: No value, while the lock is held.

    Raises:
        UserError: If another bench holds the lock.
    """
    name = osp.join(out, ".bench")
    try:
        hold(name, out, "bench")
    except HeldError as error:
        raise UserError(f"{error}: wait until it has finished, or use another --out") from None
    try:
        yield
    finally:
        release(name)
