"""Write a store of teacher features, so that a kill costs a chunk and never the store."""

from __future__ import annotations

import json
import os
import os.path as osp
import re
import shutil
from collections.abc import Sequence

import numpy as np

from smallvit.errors import FeatureStoreError
from smallvit.plugins.locality_guidance.store import (
    HEADER,
    KEYS,
    PARTIAL,
    PROGRESS,
    StoreHeader,
    finished_rows,
    open_array,
    read_header,
    stage_file,
)
from smallvit.utils.files import flush_folder, write_whole


class StoreWriter:
    """Write a store, or go on with one that was interrupted.

    Rows that were flushed before a kill stay; those after them are written again.

    Args:
        path (str | os.PathLike): The folder to be.
        header (StoreHeader): What it will hold.
        keys (np.ndarray): Key of each sample, uint64 (N, ).
        chunk (int): Rows between two flushes, at least. Defaults to 2048.
        fresh (bool): Begin anew, and replace a store of that name when this one is whole.
            Defaults to False.

    Attributes:
        finished (int): Rows that are written; go on from here.

    Raises:
        FeatureStoreError: If the interrupted store is another one, or the disk too full.
    """

    def __init__(
        self,
        path: str | os.PathLike,
        header: StoreHeader,
        keys: np.ndarray,
        chunk: int = 2048,
        fresh: bool = False,
    ) -> None:
        self.path = osp.expanduser(os.fspath(path))
        self.folder = self.path + PARTIAL
        self.header, self.chunk, self.fresh = header, chunk, fresh
        if not fresh and osp.isfile(osp.join(self.folder, HEADER)):
            self._require_same()
        else:
            self._create(np.asarray(keys, dtype="<u8"))
        self.finished = self._flushed = finished_rows(self.folder)
        self._stages = [
            open_array(stage_file(self.folder, stage), "r+", (header.length, *shape), header.dtype)
            for stage, shape in enumerate(header.shapes)
        ]

    def _require_same(self) -> None:
        differences = self.header.differences(read_header(self.folder))
        if differences:
            lines = "\n  ".join(differences)
            raise FeatureStoreError(
                f"{self.folder} was begun for something else:\n  {lines}\n  (--fresh removes it, "
                "another --out leaves it)"
            )

    def _create(self, keys: np.ndarray) -> None:
        for folder in (self.folder, self.path) if self.fresh else (self.folder,):
            _require_only_a_store(folder)
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        needed = self.header.row_bytes * self.header.length
        free = shutil.disk_usage(self.folder).free
        if needed > free:
            shutil.rmtree(self.folder)
            raise FeatureStoreError(
                f"{self.path} would take {needed / 2**30:.1f} GiB, and the disk has "
                f"{free / 2**30:.1f} GiB left; choose another --out"
            )
        for stage, shape in enumerate(self.header.shapes):
            np.lib.format.open_memmap(
                stage_file(self.folder, stage),
                mode="w+",
                dtype=np.dtype(self.header.dtype),
                shape=(self.header.length, *shape),
            )
        np.save(osp.join(self.folder, KEYS), keys, allow_pickle=False)
        # The header comes last: a folder that has one has all its files.
        write_whole(osp.join(self.folder, HEADER), self.header.to_json())

    def append(self, features: Sequence[np.ndarray]) -> None:
        """Write the next rows.

        Args:
            features (Sequence[np.ndarray]): Maps (n, C, H, W) of each stage.

        Raises:
            FeatureStoreError: If a value is not finite in the store's precision.
        """
        end = self.finished + len(features[0])
        for stage, (array, rows) in enumerate(zip(self._stages, features, strict=True)):
            with np.errstate(over="ignore"):
                rows = rows.astype(array.dtype, copy=False)
            if not np.isfinite(rows).all():
                raise FeatureStoreError(
                    f"samples {self.finished} to {end - 1}, stage {stage}: features are not finite "
                    f"in {array.dtype}; look at the teacher's checkpoint, or use --dtype float32"
                )
            array[self.finished : end] = rows
        self.finished = end
        if end - self._flushed >= self.chunk:
            self.flush()

    def flush(self) -> None:
        """Wait until the rows are on the disk, then count them as finished."""
        for array in self._stages:
            array.flush()
        write_whole(osp.join(self.folder, PROGRESS), json.dumps({"finished": self.finished}))
        self._flushed = self.finished

    def close(self) -> None:
        """Give the whole store its name.

        Raises:
            FeatureStoreError: If rows are missing, or there is a store of that name.
        """
        self.flush()
        if self.finished != self.header.length:
            raise FeatureStoreError(
                f"{self.folder} has {self.finished} rows of {self.header.length}"
            )
        self._stages = []
        if self.fresh:
            shutil.rmtree(self.path, ignore_errors=True)
        elif osp.exists(self.path):
            raise FeatureStoreError(f"{self.path} exists; --fresh replaces it")
        os.rename(self.folder, self.path)
        flush_folder(osp.dirname(self.path))


def _require_only_a_store(folder: str) -> None:
    """Refuse to remove what is no store."""
    if not osp.lexists(folder):
        return
    # A kill leaves the file that was being written under a temporary name.
    known = re.compile(rf"{re.escape(HEADER)}|{re.escape(PROGRESS)}|\w+\.npy|.+\.incomplete(\..+)?")
    names = os.listdir(folder) if osp.isdir(folder) else [osp.basename(folder)]
    strange = [name for name in names if not known.fullmatch(name)]
    if strange:
        raise FeatureStoreError(
            f"{folder} is no store of teacher features (it has {strange[0]}) and was not removed; "
            "choose another --out"
        )
