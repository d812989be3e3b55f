"""Work folder lock: one training run at a time."""

from __future__ import annotations

import os.path as osp
from functools import partial

from mmengine.logging import print_log

from smallvit.errors import WorkFolderError
from smallvit.utils import locks

NAME = ".training"
LOCK, OWNER = NAME + locks.LOCK, NAME + locks.OWNER


def hold(folder: str) -> None:
    """Lock a folder against other training runs until :func:`release` or the end of the process.

    Args:
        folder (str): The work folder, which is created if necessary. If this process
            already holds it, nothing happens.

    Raises:
        WorkFolderError: If another process holds the lock.
    """
    say = partial(print_log, logger="current", level=30)
    try:
        locks.hold(osp.join(folder, NAME), folder, "training", say)
    except locks.HeldError as error:
        raise WorkFolderError(
            f"{error}. Wait for it to finish, or choose another folder with --work-dir"
        ) from None


def release(folder: str) -> None:
    """Release the lock of a folder.

    Args:
        folder (str): The work folder; nothing happens if this process does not hold it.
    """
    locks.release(osp.join(folder, NAME))
