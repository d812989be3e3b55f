"""Lock that allows one bench at a time in a folder; reading needs no lock."""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterator
from contextlib import contextmanager

from smallvit.errors import UserError
from smallvit.utils.locks import HeldError, hold, release


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
