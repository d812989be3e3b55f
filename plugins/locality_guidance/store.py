"""Teacher features of a whole data set on the disk: written once, read sample by sample.

A store is a folder: ``header.json`` says what it belongs to, ``stage_<i>.npy`` holds the
maps of a stage (R, C, H, W), ``keys.npy`` the key of each of the N samples, ``checksums.npy`` the
CRC-32 of each row's map of each stage (R, stages), uint32, and ``progress.json`` the number of rows
that are whole. The rows are those of the samples, then, if they are stored, those of the samples
mirrored left to right, and at last one of a black image: what padding is to the teacher. It is
written as ``<store>.partial`` and renamed at the end. A store of version 1 has no checksums, and
one of version 2 no black image.
"""

from __future__ import annotations

import json
import os
import os.path as osp
import zlib
from typing import Any

import numpy as np
import torch
from mmengine.logging import print_log
from torch import Tensor

from smallvit.errors import FeatureStoreError
from smallvit.plugins.locality_guidance.fingerprint import file_sha256
from smallvit.plugins.locality_guidance.store_header import (  # noqa: F401  # some for others
    CHECKED_SINCE,
    CHECKSUMS,
    DTYPES,
    HEADER,
    KEYS,
    PARTIAL,
    PROGRESS,
    READ_VERSIONS,
    VERSION,
    StoreHeader,
    read_header,
    stage_file,
)
from smallvit.plugins.locality_guidance.store_header import TOOL as _TOOL
from smallvit.plugins.locality_guidance.windows import StageMaps, StoredSample

_AGAIN = f"precompute again for this data set ({_TOOL})"


def finished_rows(folder: str) -> int:
    """Read how many rows of a store are whole.

    Args:
        folder (str): The store, finished or not.

    Returns:
        int: The number; 0 if the store does not say it.
    """
    try:
        with open(osp.join(folder, PROGRESS), encoding="utf-8") as file:
            finished = json.load(file)["finished"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0
    return finished if type(finished) is int and finished >= 0 else 0


def open_array(path: str, mode: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Map an array into memory that must be what the header says.

    Args:
        path (str): A file of a store.
        mode (str): "r" or "r+".
        shape (tuple[int, ...]): Its shape.
        dtype (str): Its type.

    Returns:
        np.ndarray: The array, on the disk.

    Raises:
        FeatureStoreError: If the file is not that.
    """
    try:
        array = np.lib.format.open_memmap(path, mode)  # np.load would take other files too
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise FeatureStoreError(
            f"{path} is missing or truncated ({error}); write the store again with {_TOOL} --fresh"
        ) from error
    if array.shape != shape or array.dtype != np.dtype(dtype):
        raise FeatureStoreError(
            f"{path} holds {array.dtype} {array.shape}, and the header says {dtype} {shape}; write "
            f"the store again with {_TOOL} --fresh"
        )
    return array


class FeatureStore:
    """A finished store, opened for reading.

    It can be pickled and forked: each process maps the files by itself, when it reads.

    Args:
        path (str | os.PathLike): The folder.

    Attributes:
        header (StoreHeader): What the store belongs to.
        checked (bool): Whether what is read is compared with checksums.
        black (list[Tensor] | None): Maps (C_i, H_i, W_i) of a black image, to which those of a
            padded image go over; None in a store of before, where they go over to zero.

    Raises:
        FeatureStoreError: If it is missing, unfinished, of another version or damaged.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = osp.expanduser(os.fspath(path))
        if not osp.exists(self.path):
            raise FeatureStoreError(_absent(self.path))
        self.header = read_header(self.path)
        if finished_rows(self.path) != self.header.rows:
            raise FeatureStoreError(
                f"{self.path} is not whole; write it again with {_TOOL} --fresh"
            )
        self._arrays: tuple[np.ndarray | None, ...] | None = None
        self.checked = self.header.version >= CHECKED_SINCE
        if lacks := _lacks(self.header):
            print_log(
                f"{self.path} was written by an earlier smallvit: {lacks} ({_TOOL} --fresh writes "
                "it again)",
                logger="current",
                level=30,
            )
        self._open_arrays()
        self.black: list[Tensor] | None = None
        if self.header.has_black:
            what = "the features of a black image"
            self.black = _tensors(self._row(self.header.rows - 1, what))

    def __len__(self) -> int:
        return self.header.length

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_arrays": None}

    @property
    def shapes(self) -> tuple[tuple[int, ...], ...]:
        """(C, H, W) of the map of each stage."""
        return tuple(tuple(shape) for shape in self.header.shapes)

    @property
    def channels(self) -> tuple[int, ...]:
        """Channels of the map of each stage."""
        return tuple(shape[0] for shape in self.shapes)

    @property
    def teacher_sha256(self) -> str:
        """SHA-256 of the teacher's checkpoint file."""
        return self.header.teacher["sha256"]

    def require_teacher(self, checkpoint: str | os.PathLike) -> None:
        """Check that the features are those of a teacher.

        Args:
            checkpoint (str | os.PathLike): Its checkpoint file.

        Raises:
            FeatureStoreError: If they were computed with another.
        """
        found = file_sha256(checkpoint)
        if found != self.teacher_sha256:
            raise FeatureStoreError(
                f"{self.path} holds features of another teacher (SHA-256 of its checkpoint: "
                f"{self.teacher_sha256[:12]}...) than {checkpoint} ({found[:12]}...): precompute "
                f"again with this one ({_TOOL}), or name the other"
            )

    def read(self, index: int, key: int) -> list[np.ndarray]:
        """Read the features of a sample.

        Args:
            index (int): Its index in the data set.
            key (int): What :func:`sample_key` gives for it.

        Returns:
            list[np.ndarray]: A copy of the map (C, H, W) of each stage.

        Raises:
            FeatureStoreError: If the store has no such sample, another one there, or a damaged
                one.
        """
        self._require(index, key)
        return self._row(index, f"the features of sample {index}")

    def _require(self, index: int, key: int) -> None:
        keys = (self._arrays or self._open_arrays())[0]
        if not 0 <= index < len(keys):
            raise FeatureStoreError(
                f"sample {index} of the data set: {self.path} has features of {len(keys)} samples; "
                f"{_AGAIN}"
            )
        if int(keys[index]) != key:
            raise FeatureStoreError(
                f"sample {index} of the data set is another one than that whose features "
                f"{self.path} has there; {_AGAIN}"
            )

    def _row(self, row: int, what: str) -> list[np.ndarray]:
        _, sums, *stages = self._arrays or self._open_arrays()
        maps = [np.array(stage[row]) for stage in stages]
        if sums is not None and [zlib.crc32(each) for each in maps] != sums[row].tolist():
            raise FeatureStoreError(
                f"{self.path}: {what} are damaged, they do not match their checksums; write the "
                f"store again with {_TOOL} --fresh"
            )
        return maps

    def maps(self, sample: StoredSample, either: bool = False) -> StageMaps:
        """Read the features of a sample that a pipeline took note of.

        Args:
            sample (StoredSample): The sample.
            either (bool): Whether it may be flipped yet, so that the maps of the mirrored image
                are read beside those of the image, where there are some. Defaults to False: those
                that it shows.

        Returns:
            StageMaps: Its maps (C_i, H_i, W_i), cut to what it shows.

        Raises:
            FeatureStoreError: If the store has no such sample, or another one there.
        """
        self._require(sample.index, sample.key)
        own = mirrored = None
        if either or not self.header.mirrored or not sample.window.is_mirrored:
            own = _tensors(self.read(sample.index, sample.key))
        if self.header.mirrored and (either or own is None):
            what = f"the features of sample {sample.index}, mirrored,"
            mirrored = _tensors(self._row(self.header.length + sample.index, what))
        return StageMaps(own, sample.window, mirrored, self.black)

    def _open_arrays(self) -> tuple[np.ndarray | None, ...]:
        header = self.header
        keys = open_array(osp.join(self.path, KEYS), "r", (len(self),), "<u8")
        sums = None
        if self.checked:
            shape = (header.rows, len(self.shapes))
            sums = open_array(osp.join(self.path, CHECKSUMS), "r", shape, "<u4").view(np.ndarray)
        stages = (
            open_array(stage_file(self.path, stage), "r", (header.rows, *shape), header.dtype)
            for stage, shape in enumerate(self.shapes)
        )
        # Rows of a plain array are cheaper to take than those of a np.memmap.
        self._arrays = (keys.view(np.ndarray), sums, *(each.view(np.ndarray) for each in stages))
        return self._arrays


def _tensors(arrays: list[np.ndarray]) -> list[Tensor]:
    return [torch.from_numpy(each) for each in arrays]


def _lacks(header: StoreHeader) -> str:
    """Say what a store of an earlier version has not."""
    lacks = []
    if header.version < CHECKED_SINCE:
        lacks.append("it has no checksums, and its features are read unchecked")
    if not header.has_black:
        lacks.append("it has no maps of a black image, and where one is padded its target is zero")
    return "; ".join(lacks)


def _absent(path: str) -> str:
    if osp.isdir(path + PARTIAL):
        rows = finished_rows(path + PARTIAL)
        return (
            f"{path} is not finished ({rows} images so far, in {path}{PARTIAL}): run {_TOOL} "
            "again, which goes on from there"
        )
    return f"no such store of teacher features: {path}; write it with {_TOOL}"
