"""Emulate a disk whose n-th operation fails, for one folder and Python's file functions."""

from __future__ import annotations

import builtins
import errno
import io
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

#: Faults by name: errno, and whether a part is written before the failure.
FAULTS = {
    "full": (errno.ENOSPC, False),
    "broken": (errno.EIO, False),
    "short": (errno.ENOSPC, True),
}
#: Files written by MMEngine for people to read; failures to write them do not end a run.
LOGS = (".log", ".py", "scalars.json", ".txt", ".pyc")


class FaultyDisk:
    """Counts operations (open, write, flush, rename) below a folder, one of which fails.

    Args:
        folder (Path): The folder.
        fault (str): One of :data:`FAULTS`; or "kill", which ends the process by SIGKILL. Defaults
            to "full".
        at (int, optional): Number of the operation that fails, starting at 1. Defaults to None,
            which only counts them.
        for_good (bool): Whether all later operations fail too, as on a full disk. Defaults to
            False.

    Attributes:
        calls (list[str]): Operations so far.
    """

    def __init__(
        self, folder: Path, fault: str = "full", at: int | None = None, for_good: bool = False
    ) -> None:
        self.folder = os.path.realpath(folder)
        self.number, self.partly = FAULTS.get(fault, (None, True))
        self.at, self.for_good = at, for_good
        self.calls: list[str] = []
        self._stack = ExitStack()

    def __enter__(self) -> FaultyDisk:
        self._open, self._fsync = builtins.open, os.fsync
        patches = {
            (builtins, "open"): self.open,
            (io, "open"): self.open,
            (os, "fsync"): self.fsync,
            **{(os, name): self._renaming(getattr(os, name)) for name in ("replace", "rename")},
        }
        with suppress(ImportError):  # optional dependency
            import lmdb

            patches[lmdb, "open"] = partial(self.open_store, lmdb.open)
        for (module, name), fake in patches.items():
            self._stack.enter_context(mock.patch.object(module, name, fake))
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def is_watched(self, path: Any) -> bool:
        """Return whether a file is in the folder and not a log."""
        return self.is_below(path) and not os.fspath(path).endswith(LOGS)

    def ask(self, what: str, path: Any) -> None:
        """Count an operation, and fail if it is the chosen one.

        Args:
            what (str): Name of the operation.
            path (Any): Its file.

        Raises:
            OSError: With the errno of the fault.
        """
        self.calls.append(f"{what} {os.path.basename(path)}")
        count = len(self.calls)
        if self.at is not None and (count == self.at or (self.for_good and count > self.at)):
            if self.number is None:
                os.kill(os.getpid(), signal.SIGKILL)
            raise OSError(self.number, os.strerror(self.number), os.fspath(path))

    def is_below(self, path: Any) -> bool:
        """Return whether a file is in the folder."""
        if not isinstance(path, (str, os.PathLike)):
            return False
        return os.path.realpath(os.fspath(path)).startswith(self.folder + os.sep)

    def open(self, file: Any, mode: str = "r", *args: Any, **kwargs: Any) -> Any:
        """Open a file, counting writes to it."""
        if not self.is_watched(file) or not set(mode) & set("wax+"):
            return self._open(file, mode, *args, **kwargs)
        self.ask("open", file)
        return _Watched(self._open(file, mode, *args, **kwargs), self, os.fspath(file))

    def open_store(self, opened: Callable, path: str, **kwargs: Any) -> Any:
        """Open an LMDB store, which does not write through Python."""
        store = opened(path, **kwargs)
        return _WatchedStore(store, self, path) if self.is_below(path) else store

    def fsync(self, descriptor: int) -> None:
        """Flush a file to the disk."""
        if self.is_below(path := os.readlink(f"/proc/self/fd/{descriptor}")):
            self.ask("fsync", path)
        self._fsync(descriptor)

    def _renaming(self, rename: Callable) -> Callable:
        def renamed(source: Any, target: Any, **kwargs: Any) -> None:
            if self.is_watched(target):
                self.ask("rename", target)
            rename(source, target, **kwargs)

        return renamed


class _Watched:
    """An open file whose writes are counted."""

    def __init__(self, file: Any, disk: FaultyDisk, path: str) -> None:
        self._file, self._disk, self._path = file, disk, path

    def write(self, content: Any) -> int:
        half = len(content) // 2 if self._disk.partly else 0
        if half:
            self._file.write(content[:half])
            self._file.flush()
        try:
            self._disk.ask("write", self._path)
        except OSError as error:
            error.filename = None  # file objects passed to writes have no name
            raise
        return half + self._file.write(content[half:])

    def writelines(self, lines: Any) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _Watched:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def __iter__(self) -> Any:
        return iter(self._file)


class _WatchedStore:
    """An LMDB store whose puts and commits are counted, and fail as in lmdb."""

    def __init__(self, store: Any, disk: FaultyDisk, path: str) -> None:
        self._store, self._disk, self._path = store, disk, path

    @contextmanager
    def begin(self, write: bool = False, **kwargs: Any) -> Iterator[Any]:
        with self._store.begin(write=write, **kwargs) as transaction:
            yield transaction
            if write:  # inside the transaction, which is then rolled back
                self._ask("commit")

    def _ask(self, what: str) -> None:
        import lmdb

        try:
            self._disk.ask(what, self._path)
        except OSError as error:
            raise lmdb.DiskError(f"mdb_txn_commit: {error.strerror}") from error

    def __enter__(self) -> _WatchedStore:
        return self

    def __exit__(self, *_: object) -> None:
        self._store.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)
