"""One training at a time in a work folder."""

from __future__ import annotations

import os.path as osp
from functools import partial

from mmengine.logging import print_log

from smallvit.errors import WorkFolderError
from smallvit.utils import locks

NAME = ".training"
LOCK, OWNER = NAME + locks.LOCK, NAME + locks.OWNER


def hold(folder: str) -> None:
    """Keep other trainings out of a folder until :func:`release`, or the end of the process.

    Args:
        folder (str): The work folder, which is made if it is not there. If this process
            holds it already, nothing happens.

    Raises:
        WorkFolderError: If another process holds it.
    """
    say = partial(print_log, logger="current", level=30)
    try:
        locks.hold(osp.join(folder, NAME), folder, "training", say)
    except locks.HeldError as error:
        raise WorkFolderError(
            f"{error}: wait for its end, or give this one a folder of its own with --work-dir"
        ) from None


def release(folder: str) -> None:
    """Let other trainings into a folder.

    Args:
        folder (str): The work folder; nothing happens if this process does not hold it.
    """
    locks.release(osp.join(folder, NAME))
