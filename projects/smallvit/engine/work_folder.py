"""One training at a time in a work folder.

The lock is the system's own (``flock``), which it takes back when a process ends in whatever
way; beside it a record says whose it is.
"""

from __future__ import annotations

import errno
import json
import os
import os.path as osp
import socket
import time
from typing import Any

from filelock import FileLock, Timeout
from mmengine.logging import print_log

from smallvit.errors import WorkFolderError
from smallvit.utils.files import remove_quietly, write_whole

LOCK = ".training.lock"
OWNER = ".training.json"
#: Seconds in which data-loader workers notice that their training was killed. They have its
#: lock until then, if filelock is too old to know of forks.
ORPHANED = 60
#: Errors of file systems without locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)

#: Locks by process, as a forked one owns none, and by folder.
_held: dict[tuple[int, str], FileLock] = {}


def hold(folder: str) -> None:
    """Keep other trainings out of a folder until :func:`release`, or the end of the process.

    Args:
        folder (str): The work folder, which is made if it is not there. If this process
            holds it already, nothing happens.

    Raises:
        WorkFolderError: If another process holds it.
    """
    os.makedirs(folder, exist_ok=True)
    key = _key(folder)
    if key in _held:
        return
    lock = FileLock(osp.join(folder, LOCK))
    try:
        _acquire(lock, folder)
    except (NotImplementedError, OSError) as error:
        if not isinstance(error, NotImplementedError) and error.errno not in _NO_LOCKS:
            raise
        print_log(
            f"the file system of {folder} has no locks: nothing keeps another training out of it",
            logger="current",
            level=30,
        )
        return
    _held[key] = lock
    _tell_of_takeover(folder)
    write_whole(osp.join(folder, OWNER), json.dumps(_this_process()))


def _acquire(lock: FileLock, folder: str) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        owner = _owner(folder)
        patience = ORPHANED if _is_gone(owner) else 0
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            raise WorkFolderError(
                f"another training works in {folder} ({_shown(owner)}): wait for its end, or give "
                "this one a folder of its own with --work-dir"
            ) from None


def release(folder: str) -> None:
    """Let other trainings into a folder.

    Args:
        folder (str): The work folder; nothing happens if this process does not hold it.
    """
    lock = _held.pop(_key(folder), None)
    if lock is not None:
        remove_quietly(osp.join(folder, OWNER))
        lock.release()


def _key(folder: str) -> tuple[int, str]:
    return os.getpid(), osp.realpath(folder)


def _this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "began": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _owner(folder: str) -> dict[str, Any]:
    try:
        with open(osp.join(folder, OWNER), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _shown(owner: dict[str, Any]) -> str:
    if not owner:
        return "which has not said yet who it is"
    return f"process {owner.get('process')} on host {owner.get('host')}, begun {owner.get('began')}"


def _is_gone(owner: dict[str, Any]) -> bool:
    """Whether a process of this machine has ended; those of others cannot be asked."""
    number = owner.get("process")
    if owner.get("host") != socket.gethostname() or not isinstance(number, int) or number < 1:
        return False
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False


def _tell_of_takeover(folder: str) -> None:
    owner = _owner(folder)
    if not owner:
        return
    if owner.get("host") == socket.gethostname():
        print_log(f"{folder} was left by a training that was cut off ({_shown(owner)})", "current")
        return
    print_log(
        f"{folder} was left by a training that was cut off ({_shown(owner)}), unless the two "
        "machines do not share their locks: if it still runs, end one of the two",
        logger="current",
        level=30,
    )
