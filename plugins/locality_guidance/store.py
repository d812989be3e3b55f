"""Teacher features of a whole data set on the disk: written once, read sample by sample.

A store is a folder: ``header.json`` says what it belongs to, ``stage_<i>.npy`` holds the
maps of a stage (N, C, H, W), ``keys.npy`` the key of each sample and ``progress.json`` the
number of rows that are whole. It is written as ``<store>.partial`` and renamed at the end.
"""

from __future__ import annotations

import json
import os
import os.path as osp
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from smallvit.errors import FeatureStoreError
from smallvit.plugins.locality_guidance.fingerprint import file_sha256
from smallvit.plugins.locality_guidance.windows import StageMaps, StoredSample

VERSION = 1
PARTIAL = ".partial"
DTYPES = ("float16", "float32")
HEADER, KEYS, PROGRESS = "header.json", "keys.npy", "progress.json"
_TOOL = "tools/locality_guidance/precompute.py"
_AGAIN = f"precompute again for this data set ({_TOOL})"


@dataclass
class StoreHeader:
    """What a store belongs to and how it is laid out.

    Args:
        data_set (dict): ``type``, ``length``, ``num_classes`` and ``fingerprint``.
        teacher (dict): ``sha256`` of its checkpoint, ``backbone``, ``input_size``,
            ``stages``, ``preprocessor`` and ``pipeline``.
        shapes (Sequence[Sequence[int]]): (C, H, W) of the map of each stage.
        dtype (str): "float16" or "float32". Defaults to "float16".
        config (str): Name of the config that it was made with, for people to read.
            Defaults to "".
        version (int): Version of the layout. Defaults to the one that is written.
    """

    data_set: dict[str, Any]
    teacher: dict[str, Any]
    shapes: Sequence[Sequence[int]]
    dtype: str = "float16"
    config: str = ""
    version: int = VERSION

    @property
    def length(self) -> int:
        """Number of samples."""
        return self.data_set["length"]

    @property
    def row_bytes(self) -> int:
        """What the features of one sample take."""
        return sum(int(np.prod(shape)) for shape in self.shapes) * np.dtype(self.dtype).itemsize

    def to_json(self) -> str:
        """Write the header, the same text for the same content."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    def differences(self, other: StoreHeader) -> list[str]:
        """Say in what another header differs; the name of the config does not count.

        Args:
            other (StoreHeader): That of a store.

        Returns:
            list[str]: One line for each difference, with the store's value and this one.
        """
        mine, theirs = (dict(_flatten(json.loads(each.to_json()))) for each in (self, other))
        return [
            f"{name}: {theirs.get(name, 'none')} in the store, {mine.get(name, 'none')} asked for"
            for name in sorted({*mine, *theirs} - {"config"})
            if mine.get(name) != theirs.get(name)
        ]


def _flatten(node: dict, prefix: str = "") -> list[tuple[str, Any]]:
    pairs = []
    for key, value in node.items():
        name = f"{prefix}{key}"
        pairs += _flatten(value, f"{name}.") if isinstance(value, dict) else [(name, value)]
    return pairs


def read_header(folder: str | os.PathLike) -> StoreHeader:
    """Read the header of a store, finished or not.

    Args:
        folder (str | os.PathLike): The store.

    Returns:
        StoreHeader: Its header.

    Raises:
        FeatureStoreError: If there is none, or it is of another version.
    """
    try:
        with open(osp.join(folder, HEADER), encoding="utf-8") as file:
            content = json.load(file)
        version = content["version"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise FeatureStoreError(
            f"{folder} is no store of teacher features ({HEADER}: {error}); write one with {_TOOL}"
        ) from error
    if version != VERSION:
        raise FeatureStoreError(
            f"{folder} is a store of version {version}, and this smallvit reads version "
            f"{VERSION}: write it again with {_TOOL} --fresh"
        )
    try:
        header = StoreHeader(**content)
        _check_layout(header)
    except (TypeError, KeyError, ValueError) as error:
        raise FeatureStoreError(
            f"{folder}: its {HEADER} is damaged ({error}); write it again with {_TOOL} --fresh"
        ) from error
    return header


def _check_layout(header: StoreHeader) -> None:
    if header.dtype not in DTYPES:
        raise ValueError(f"dtype {header.dtype!r} is none of {', '.join(DTYPES)}")
    if not header.shapes or any(len(shape) != 3 for shape in header.shapes):
        raise ValueError(f"shapes {header.shapes} are not (C, H, W) of each stage")
    if not isinstance(header.length, int) or not isinstance(header.teacher["sha256"], str):
        raise TypeError("data_set.length is no number, or teacher.sha256 no text")


def stage_file(folder: str, stage: int) -> str:
    """Name the file with the maps of a stage.

    Args:
        folder (str): The store.
        stage (int): Position of the stage in it.

    Returns:
        str: Its path.
    """
    return osp.join(folder, f"stage_{stage}.npy")


def finished_rows(folder: str) -> int:
    """Read how many rows of a store are whole.

    Args:
        folder (str): The store, finished or not.

    Returns:
        int: The number; 0 if the store does not say it.
    """
    try:
        with open(osp.join(folder, PROGRESS), encoding="utf-8") as file:
            return int(json.load(file)["finished"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0


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
        array = np.load(path, mmap_mode=mode, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
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

    Raises:
        FeatureStoreError: If it is missing, unfinished, of another version or damaged.
    """

    def __init__(self, path: str | os.PathLike) -> None:
        self.path = osp.expanduser(os.fspath(path))
        if not osp.exists(self.path):
            raise FeatureStoreError(_absent(self.path))
        self.header = read_header(self.path)
        if finished_rows(self.path) != len(self):
            raise FeatureStoreError(
                f"{self.path} is not whole; write it again with {_TOOL} --fresh"
            )
        self._arrays: tuple[np.ndarray, ...] | None = None
        self._open_arrays()

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
            FeatureStoreError: If the store has no such sample, or another one there.
        """
        keys, *stages = self._arrays or self._open_arrays()
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
        return [np.array(stage[index]) for stage in stages]

    def maps(self, sample: StoredSample) -> StageMaps:
        """Read the features of a sample that a pipeline took note of.

        Args:
            sample (StoredSample): The sample.

        Returns:
            StageMaps: Its maps (C_i, H_i, W_i), cut to what it shows.

        Raises:
            FeatureStoreError: If the store has no such sample, or another one there.
        """
        arrays = self.read(sample.index, sample.key)
        return StageMaps([torch.from_numpy(each) for each in arrays], sample.window)

    def _open_arrays(self) -> tuple[np.ndarray, ...]:
        header = self.header
        keys = open_array(osp.join(self.path, KEYS), "r", (len(self),), "<u8")
        stages = (
            open_array(stage_file(self.path, stage), "r", (len(self), *shape), header.dtype)
            for stage, shape in enumerate(self.shapes)
        )
        # Rows of a plain array are cheaper to take than those of a np.memmap.
        self._arrays = tuple(array.view(np.ndarray) for array in (keys, *stages))
        return self._arrays


def _absent(path: str) -> str:
    if osp.isdir(path + PARTIAL):
        rows = finished_rows(path + PARTIAL)
        return (
            f"{path} is not finished ({rows} samples so far, in {path}{PARTIAL}): run {_TOOL} "
            "again, which goes on from there"
        )
    return f"no such store of teacher features: {path}; write it with {_TOOL}"
