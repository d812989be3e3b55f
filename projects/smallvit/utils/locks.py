"""Locks between processes, with a record of the owner.

The operating system's lock (``flock``) is used, which is released when its process ends for any
reason. A second file records the owner.
"""

from __future__ import annotations

import errno
import json
import os
import os.path as osp
import socket
import time
from collections.abc import Callable
from typing import Any

from smallvit.utils.files import remove_quietly, write_whole

#: Suffixes of the lock file and its record.
LOCK, OWNER = ".lock", ".json"
#: Seconds that data loader workers take to notice that their parent was killed. Until then they
#: keep its lock if filelock is too old to handle forks.
ORPHANED = 60
#: Error numbers of file systems without locks.
_NO_LOCKS = (errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)

#: Locks by process ID and name. The ID is part of the key because a forked process holds no locks.
_held: dict[tuple[int, str], Any] = {}


class HeldError(Exception):
    """Another process holds the lock. The message identifies it; callers add how to proceed."""


def hold(name: str, place: str, who: str, warn: Callable[[str], Any] = print) -> None:
    """Acquire a lock and hold it until :func:`release` is called or this process ends.

    Args:
        name (str): Path prefix of the lock's files. Nothing happens if this process
            already holds it.
        place (str): Folder that the lock protects, for messages.
        who (str): Activity that needs the folder, such as "training", for messages.
        warn (Callable): Called with each warning. Defaults to :func:`print`.

    Raises:
        HeldError: If another process holds the lock.
    """
    import filelock

    key = _key(name)
    if key in _held:
        return
    os.makedirs(osp.dirname(key[1]), exist_ok=True)
    lock = filelock.FileLock(name + LOCK)
    try:
        _acquire(lock, name, f"another {who} is running in {place}")
    except (NotImplementedError, OSError) as error:
        if not isinstance(error, NotImplementedError) and error.errno not in _NO_LOCKS:
            raise
        warn(
            f"the file system of {place} does not support locks; make sure that no other {who} "
            "uses it"
        )
        return
    _held[key] = lock
    _warn_of_takeover(name, f"{place} contains an interrupted {who}", warn)
    write_whole(name + OWNER, json.dumps(_this_process()))


def release(name: str, remove: bool = False) -> None:
    """Release a lock.

    Args:
        name (str): Path prefix of the lock; nothing happens if this process does not hold it.
        remove (bool): Whether to remove the lock file, if the system can remove open files.
            Defaults to False.
    """
    lock = _held.pop(_key(name), None)
    if lock is not None:
        remove_quietly(name + OWNER)
        if remove:
            remove_quietly(name + LOCK)
        lock.release()


def release_all() -> None:
    """Release all locks that this process holds, so that only a killed one leaves its record."""
    for process, name in list(_held):
        if process == os.getpid():
            release(name)


def _acquire(lock: Any, name: str, refusal: str) -> None:
    _acquire_once(lock, name, refusal)
    while _was_removed(lock, name + LOCK):  # by its owner, after this process opened it
        lock.release()
        _acquire_once(lock, name, refusal)


def _was_removed(lock: Any, path: str) -> bool:
    context = getattr(lock, "_context", None)
    # Before filelock 3.11 the file descriptor is an attribute of the lock itself.
    opened = lock._lock_file_fd if context is None else context.lock_file_fd
    if opened is None:
        return False
    try:
        return not osp.samestat(os.fstat(opened), os.stat(path))
    except FileNotFoundError:
        return True


def _acquire_once(lock: Any, name: str, refusal: str) -> None:
    from filelock import Timeout

    try:
        lock.acquire(timeout=0)
    except Timeout:
        owner = _owner(name)
        patience = ORPHANED if _is_gone(owner) else 0
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            raise HeldError(f"{refusal} ({_format(owner)})") from None


def _key(name: str) -> tuple[int, str]:
    folder, base = osp.split(osp.abspath(name))
    return os.getpid(), osp.join(osp.realpath(folder), base)


def _this_process() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "began": time.strftime("%Y-%m-%d %H:%M:%S"),
    }


def _owner(name: str) -> dict[str, Any]:
    try:
        with open(name + OWNER, encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _format(owner: dict[str, Any]) -> str:
    if not owner:
        return "process unknown"
    return (
        f"process {owner.get('process')} on host {owner.get('host')}, started {owner.get('began')}"
    )


def _is_gone(owner: dict[str, Any]) -> bool:
    """Whether the owner has ended; False on another machine, where this cannot be checked."""
    number = owner.get("process")
    if owner.get("host") != socket.gethostname() or not isinstance(number, int) or number < 1:
        return False
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _warn_of_takeover(name: str, message: str, warn: Callable[[str], Any]) -> None:
    owner = _owner(name)
    if not owner:
        return
    text = f"{message} ({_format(owner)})"
    if owner.get("host") != socket.gethostname():
        text += (
            ". If the machines do not share locks, it may still be running; in that case stop one "
            "of the two"
        )
    warn(text)
