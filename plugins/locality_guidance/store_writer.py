"""Resumable writing of a store of teacher features."""

from __future__ import annotations

import json
import os
import os.path as osp
import re
import shutil
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from smallvit.compat.moved import forward
from smallvit.errors import FeatureStoreError
from smallvit.plugins.locality_guidance.array_files import ArrayFile, create_array
from smallvit.plugins.locality_guidance.store import finished_rows, open_array
from smallvit.plugins.locality_guidance.store_header import (
    CHECKSUMS,
    HEADER,
    KEYS,
    PARTIAL,
    PROGRESS,
    StoreHeader,
    files_of,
    read_header,
    stage_file,
)
from smallvit.utils.files import flush_folder, write_whole
from smallvit.utils.locks import HeldError, hold, release

__getattr__ = forward(__name__)

#: Suffix of a store that was replaced, until it is removed.
REPLACED = ".replaced"
#: Temporary files that an interrupted write leaves behind.
_TEMPORARY = re.compile(rf"\.({HEADER[:-5]}|{PROGRESS[:-5]})\.[0-9a-f]{{8}}\.incomplete\.json")


class FeatureStoreWriter:
    """Writer of a new or interrupted store.

    After an interruption, flushed rows are kept and writing resumes after them. Only one process
    can write a store at a time; it holds a lock until :meth:`close`, the end of the ``with`` block
    or its own exit.

    Args:
        path (str | os.PathLike): Folder of the finished store.
        header (StoreHeader): Header of the store.
        keys (np.ndarray): Key of each sample, uint64 (N, ).
        chunk (int): Minimum number of rows between two flushes. Defaults to 2048.
        fresh (bool): Start over, and replace an existing store once this one is complete.
            Defaults to False.

    Attributes:
        finished (int): Number of rows written so far, from which to continue.

    Raises:
        FeatureStoreError: If the interrupted store has another header, another process is writing
            it, or there is not enough disk space.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        header: StoreHeader,
        keys: np.ndarray,
        chunk: int = 2048,
        fresh: bool = False,
    ) -> None:
        self.path = osp.expanduser(os.fspath(path)).rstrip(os.sep)
        self.folder = self.path + PARTIAL
        self.header, self.chunk, self.fresh = header, chunk, fresh
        folder, name = osp.split(osp.abspath(self.path))
        self._lock = osp.join(folder, f".{name}.writing")
        self._acquire_lock()
        try:
            self._begin(keys)
        except BaseException:
            self.release()
            raise

    def __enter__(self) -> FeatureStoreWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Release the lock; flushed rows are kept."""
        release(self._lock, remove=True)

    def _acquire_lock(self) -> None:
        try:
            with self._failing_readably():
                hold(self._lock, self.folder, "writer")
        except HeldError as error:
            raise FeatureStoreError(
                f"{error}. Wait for it to finish, or choose another --out"
            ) from None

    def _begin(self, keys: np.ndarray) -> None:
        header, fresh = self.header, self.fresh
        if fresh:
            for folder in (self.path, self.folder):
                _require_only_a_store(folder)
        begun = osp.isfile(osp.join(self.folder, HEADER))
        if begun and not fresh:
            self._require_same()
        # The progress file is written after all other files have been created.
        if fresh or not begun or not osp.isfile(osp.join(self.folder, PROGRESS)):
            with self._failing_readably():
                self._create(np.asarray(keys, dtype="<u8"))
        self.finished = self._flushed = min(finished_rows(self.folder), header.rows)
        self._stages = [
            self._open(stage_file(self.folder, stage), shape, header.dtype)
            for stage, shape in enumerate(header.shapes)
        ]
        sums = (len(header.shapes),)
        self._sums = self._open(osp.join(self.folder, CHECKSUMS), sums, "<u4")

    def _open(self, path: str, shape: Sequence[int], dtype: str) -> ArrayFile:
        whole = (self.header.rows, *shape)
        return ArrayFile(path, open_array(path, "r", whole, dtype))

    def _require_same(self) -> None:
        found = read_header(self.folder)
        differences = self.header.differences(found)
        if found.version != self.header.version:
            differences.append(
                f"it was started by an earlier version of smallvit (store version {found.version})"
            )
        if differences:
            lines = "\n  ".join(differences)
            raise FeatureStoreError(
                f"{self.folder} was started with other settings:\n  {lines}\n  (remove it with "
                "--fresh, or choose another --out)"
            )

    def _create(self, keys: np.ndarray) -> None:
        _require_only_a_store(self.folder)
        remove_store(self.folder)
        self._require_space()
        os.makedirs(self.folder, exist_ok=True)
        try:
            self._write_files(keys)
        except OSError:
            remove_store(self.folder)
            raise

    def _write_files(self, keys: np.ndarray) -> None:
        header = self.header
        # The header comes first, since it determines which files belong to the store.
        write_whole(osp.join(self.folder, HEADER), header.to_json())
        for stage, shape in enumerate(header.shapes):
            create_array(stage_file(self.folder, stage), (header.rows, *shape), header.dtype)
        sums = (header.rows, len(header.shapes))
        create_array(osp.join(self.folder, CHECKSUMS), sums, "<u4")
        with open(osp.join(self.folder, KEYS), "wb") as file:
            np.save(file, keys, allow_pickle=False)
        write_whole(osp.join(self.folder, PROGRESS), json.dumps({"finished": 0}))

    def _require_space(self) -> None:
        place = osp.dirname(osp.abspath(self.path))
        while not osp.isdir(place):
            place = osp.dirname(place)
        needed, free = self.header.row_bytes * self.header.rows, shutil.disk_usage(place).free
        if needed > free:
            raise FeatureStoreError(
                f"{self.path} requires {needed / 2**30:.1f} GiB, but the disk has only "
                f"{free / 2**30:.1f} GiB left. Choose another --out"
            )

    @contextmanager
    def _failing_readably(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise FeatureStoreError(
                f"cannot write {self.folder}: {error.strerror or error}. Fix this and run the same "
                f"command again to resume after {finished_rows(self.folder)} images"
            ) from error

    def append(self, features: Sequence[np.ndarray]) -> None:
        """Write the next rows.

        Args:
            features (Sequence[np.ndarray]): Maps (n, C, H, W) of each stage.

        Raises:
            FeatureStoreError: If a value is not finite in the precision of the store, or writing
                fails.
        """
        end = self.finished + len(features[0])
        sums = np.empty((len(features[0]), len(self._stages)), dtype="<u4")
        for stage, (array, rows) in enumerate(zip(self._stages, features, strict=True)):
            with np.errstate(over="ignore"):
                rows = rows.astype(array.dtype, copy=False)
            if not np.isfinite(rows).all():
                raise FeatureStoreError(
                    f"images {self.finished} to {end - 1}, stage {stage}: features are not finite "
                    f"in {array.dtype}. Check the checkpoint of the teacher, or use --dtype float32"
                )
            rows = np.ascontiguousarray(rows)
            sums[:, stage] = [zlib.crc32(row) for row in rows]
            with self._failing_readably():
                array.write(self.finished, rows)
        with self._failing_readably():
            self._sums.write(self.finished, sums)
        self.finished = end
        if end - self._flushed >= self.chunk:
            self.flush()

    def flush(self) -> None:
        """Flush the rows to the disk, then record them as finished."""
        with self._failing_readably():
            for array in (*self._stages, self._sums):
                array.flush()
            write_whole(osp.join(self.folder, PROGRESS), json.dumps({"finished": self.finished}))
        self._flushed = self.finished

    def close(self) -> None:
        """Rename the complete store to its final path, then remove the one that it replaces.

        Raises:
            FeatureStoreError: If rows are missing, or the path exists and ``fresh`` is False.
        """
        self.flush()
        if self.finished != self.header.rows:
            raise FeatureStoreError(f"{self.folder} has {self.finished} rows of {self.header.rows}")
        for array in (*self._stages, self._sums):
            array.close()
        before = None
        if osp.lexists(self.path):
            if not self.fresh:
                raise FeatureStoreError(f"{self.path} exists. Replace it with --fresh")
            before = self._set_aside()
        try:
            os.rename(self.folder, self.path)
        except OSError:
            if before is not None:
                os.rename(before, self.path)
            raise
        flush_folder(osp.dirname(self.path))
        self.release()
        if before is not None:
            remove_store(before)
            if osp.exists(before):
                print(f"{before} is kept because it contains files other than the previous store")

    def _set_aside(self) -> str:
        """Rename the former store, including any other files in its folder."""
        number, before = 1, self.path + REPLACED
        while osp.lexists(before):
            number, before = number + 1, f"{self.path}{REPLACED}_{number}"
        os.rename(self.path, before)
        return before


def remove_store(folder: str) -> None:
    """Remove the files of a store, and its folder if that is then empty.

    Args:
        folder (str): Folder of the store, finished or not; other folders are left unchanged.
    """
    if not osp.isdir(folder):
        return
    names, there = files_of(folder), os.listdir(folder)
    unfinished = list(filter(_TEMPORARY.fullmatch, there))
    if not names and unfinished != there:
        return
    names = [*unfinished, *names]
    for name in names:
        if osp.isfile(osp.join(folder, name)):
            os.remove(osp.join(folder, name))
    if not os.listdir(folder):
        os.rmdir(folder)


def _require_only_a_store(folder: str) -> None:
    """Refuse to remove a folder with files that do not belong to a store by its header."""
    if not osp.lexists(folder) or (osp.isdir(folder) and not os.listdir(folder)):
        return
    reason = None
    if osp.islink(folder):
        reason = f"is a symbolic link to {osp.realpath(folder)}"
    elif not osp.isdir(folder):
        reason = "is a file, not a store of teacher features,"
    else:
        known, names = files_of(folder), os.listdir(folder)
        strange = [name for name in names if name not in known and not _TEMPORARY.fullmatch(name)]
        if strange:
            reason = f"contains more than a store of teacher features ({sorted(strange)[0]})"
    if reason is not None:
        raise FeatureStoreError(
            f"{folder} {reason} and was not removed. Choose another --out, or move it"
        )
