"""On-disk store of teacher features of a dataset: written once, read sample by sample.

A store is a folder: ``header.json`` identifies dataset and teacher, ``stage_<i>.npy`` holds the
maps of a stage (R, C, H, W), ``keys.npy`` the key of each of the N samples, ``checksums.npy`` the
CRC-32 of each row's map of each stage (R, stages), uint32, and ``progress.json`` the number of
complete rows. The rows are those of the samples, then, if they are stored, those of the
horizontally flipped samples, and finally one of a black image, which stands for padding. A store
is written as ``<store>.partial`` and renamed at the end. Version 1 has no checksums, and versions
1 and 2 no black image.
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

_AGAIN = f"precompute again for this dataset ({_TOOL})"


def finished_rows(folder: str) -> int:
    """Read the number of complete rows of a store.

    Args:
        folder (str): Folder of the store, finished or not.

    Returns:
        int: Number of rows; 0 if the store has no valid progress file.
    """
    try:
        with open(osp.join(folder, PROGRESS), encoding="utf-8") as file:
            finished = json.load(file)["finished"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return 0
    return finished if type(finished) is int and finished >= 0 else 0


def open_array(path: str, mode: str, shape: tuple[int, ...], dtype: str) -> np.ndarray:
    """Memory-map an array and check its shape and type.

    Args:
        path (str): A .npy file of a store.
        mode (str): "r" or "r+".
        shape (tuple[int, ...]): Expected shape.
        dtype (str): Expected type.

    Returns:
        np.ndarray: Memory-mapped array.

    Raises:
        FeatureStoreError: If the file is missing, damaged or holds another array.
    """
    try:
        array = np.lib.format.open_memmap(path, mode)  # np.load would accept other formats too
    except (OSError, ValueError, EOFError, OverflowError) as error:
        raise FeatureStoreError(
            f"{path} is missing or truncated ({error}). Write the store again with {_TOOL} --fresh"
        ) from error
    if array.shape != shape or array.dtype != np.dtype(dtype):
        raise FeatureStoreError(
            f"{path}: expected {dtype} {shape} as in the header, got {array.dtype} {array.shape}. "
            f"Write the store again with {_TOOL} --fresh"
        )
    return array


class FeatureStore:
    """Reader of a finished store.

    It can be pickled and forked: each process memory-maps the files when it first reads.

    Args:
        path (str | os.PathLike): Folder of the store.

    Attributes:
        header (StoreHeader): Header of the store.
        checked (bool): Whether rows are verified with checksums.
        black (list[Tensor] | None): Maps (C_i, H_i, W_i) of a black image, used where an image is
            padded; None in a store of an earlier version, where padding is zero.

    Raises:
        FeatureStoreError: If the store is missing, unfinished, of an unsupported version or
            damaged.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = osp.expanduser(os.fspath(path))
        if not osp.exists(self.path):
            raise FeatureStoreError(_absent(self.path))
        self.header = read_header(self.path)
        if finished_rows(self.path) != self.header.rows:
            raise FeatureStoreError(
                f"{self.path} is incomplete. Write it again with {_TOOL} --fresh"
            )
        self._arrays: tuple[np.ndarray | None, ...] | None = None
        self.checked = self.header.version >= CHECKED_SINCE
        if lacks := _lacks(self.header):
            print_log(
                f"{self.path} was written by an earlier version of smallvit: {lacks} ({_TOOL} "
                "--fresh writes it again)",
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
        """tuple[tuple[int, ...], ...]: Shape (C, H, W) of the map of each stage."""
        return tuple(tuple(shape) for shape in self.header.shapes)

    @property
    def channels(self) -> tuple[int, ...]:
        """tuple[int, ...]: Channels of the map of each stage."""
        return tuple(shape[0] for shape in self.shapes)

    @property
    def teacher_sha256(self) -> str:
        """str: SHA-256 of the teacher's checkpoint file."""
        return self.header.teacher["sha256"]

    def require_teacher(self, checkpoint: str | os.PathLike) -> None:
        """Check that the features were computed with a checkpoint.

        Args:
            checkpoint (str | os.PathLike): Checkpoint file of the teacher.

        Raises:
            FeatureStoreError: If they were computed with another checkpoint.
        """
        found = file_sha256(checkpoint)
        if found != self.teacher_sha256:
            raise FeatureStoreError(
                f"{self.path} contains features of another teacher (SHA-256 of its checkpoint: "
                f"{self.teacher_sha256[:12]}...) than {checkpoint} ({found[:12]}...). Precompute "
                f"them again with this one ({_TOOL}), or set the other"
            )

    def read(self, index: int, key: int) -> list[np.ndarray]:
        """Read the features of a sample.

        Args:
            index (int): Index of the sample in the dataset.
            key (int): Output of :func:`sample_key` for the sample.

        Returns:
            list[np.ndarray]: Copy of the map (C, H, W) of each stage.

        Raises:
            FeatureStoreError: If the index is out of range, the key does not match, or the
                features are damaged.
        """
        self._require(index, key)
        return self._row(index, f"the features of sample {index}")

    def _require(self, index: int, key: int) -> None:
        keys = (self._arrays or self._open_arrays())[0]
        if not 0 <= index < len(keys):
            raise FeatureStoreError(
                f"{self.path} has features of {len(keys)} samples, got sample {index}; {_AGAIN}"
            )
        if int(keys[index]) != key:
            raise FeatureStoreError(
                f"sample {index} of the dataset differs from the sample in {self.path}; {_AGAIN}"
            )

    def _row(self, row: int, what: str) -> list[np.ndarray]:
        _, sums, *stages = self._arrays or self._open_arrays()
        maps = [np.array(stage[row]) for stage in stages]
        if sums is not None and [zlib.crc32(each) for each in maps] != sums[row].tolist():
            raise FeatureStoreError(
                f"{self.path}: {what} are damaged, their checksums do not match. Write the store "
                f"again with {_TOOL} --fresh"
            )
        return maps

    def maps(self, sample: StoredSample, either: bool = False) -> StageMaps:
        """Read the features of a sample from a data pipeline.

        Args:
            sample (StoredSample): Index, key and window of the sample.
            either (bool): Whether the sample may still be flipped, so that the maps of both the
                image and the flipped image are read, if stored. Defaults to False: only those
                that the window needs.

        Returns:
            StageMaps: Maps (C_i, H_i, W_i), cropped to the window of the sample.

        Raises:
            FeatureStoreError: If the index is out of range, the key does not match, or the
                features are damaged.
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
        # Indexing a plain array is faster than indexing a np.memmap.
        self._arrays = (keys.view(np.ndarray), sums, *(each.view(np.ndarray) for each in stages))
        return self._arrays


def _tensors(arrays: list[np.ndarray]) -> list[Tensor]:
    return [torch.from_numpy(each) for each in arrays]


def _lacks(header: StoreHeader) -> str:
    """Describe what a store of an earlier version lacks."""
    lacks = []
    if header.version < CHECKED_SINCE:
        lacks.append("it has no checksums, so its features are not verified")
    if not header.has_black:
        lacks.append("it has no maps of a black image, so the target of padding is zero")
    return "; ".join(lacks)


def _absent(path: str) -> str:
    if osp.isdir(path + PARTIAL):
        rows = finished_rows(path + PARTIAL)
        return (
            f"{path} is not finished ({rows} images so far, in {path}{PARTIAL}). Run {_TOOL} "
            "again to resume"
        )
    return f"no such store of teacher features: {path}. Write it with {_TOOL}"
