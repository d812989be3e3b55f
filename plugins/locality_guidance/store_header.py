"""Header and file layout of a store of teacher features."""

from __future__ import annotations

import json
import os
import os.path as osp
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from smallvit.errors import FeatureStoreError

#: Version 1 has no checksums, and versions 1 and 2 no maps of a black image.
VERSION, READ_VERSIONS = 3, (1, 2, 3)
CHECKED_SINCE, BLACK_SINCE = 2, 3
PARTIAL = ".partial"
DTYPES = ("float16", "float32")
HEADER, KEYS, PROGRESS, CHECKSUMS = "header.json", "keys.npy", "progress.json", "checksums.npy"
TOOL = "tools/locality_guidance/precompute.py"
#: Upper limits, larger than those of any teacher, for headers from untrusted files.
_MAX_STAGES, _MAX_SIDE, _MAX_LENGTH = 1000, 1 << 20, 1 << 40


@dataclass
class StoreHeader:
    """Header of a store: dataset, teacher and layout.

    Args:
        data_set (dict): ``type``, ``length``, ``num_classes`` and ``fingerprint``.
        teacher (dict): ``sha256`` of the checkpoint, ``backbone``, ``input_size``,
            ``stages``, ``preprocessor`` and ``pipeline``.
        shapes (Sequence[Sequence[int]]): Shape (C, H, W) of the map of each stage.
        dtype (str): "float16" or "float32". Defaults to "float16".
        config (str): File name of the config, for information only. Defaults to "".
        mirrored (bool): Whether the store has the maps of the flipped images too. Defaults to
            False.
        version (int): Version of the layout. Defaults to the current one.
    """

    data_set: dict[str, Any]
    teacher: dict[str, Any]
    shapes: Sequence[Sequence[int]]
    dtype: str = "float16"
    config: str = ""
    mirrored: bool = False
    version: int = VERSION

    @property
    def length(self) -> int:
        """Number of samples."""
        return self.data_set["length"]

    @property
    def has_black(self) -> bool:
        """bool: Whether the last row has the maps of a black image."""
        return self.version >= BLACK_SINCE

    @property
    def rows(self) -> int:
        """int: Number of rows: samples, flipped samples and the black image."""
        return self.length * (1 + self.mirrored) + self.has_black

    @property
    def row_bytes(self) -> int:
        """int: Size of the features of one image in bytes."""
        return sum(int(np.prod(shape)) for shape in self.shapes) * np.dtype(self.dtype).itemsize

    def to_json(self) -> str:
        """Serialize the header to JSON, with sorted keys so that the text is deterministic."""
        return json.dumps(asdict(self), indent=1, sort_keys=True)

    def differences(self, other: StoreHeader) -> list[str]:
        """List differences from another header, except version and file name of the config.

        Args:
            other (StoreHeader): Header of an existing store.

        Returns:
            list[str]: One line per difference, with the value in the store and the requested one.
        """
        mine, theirs = (dict(_flatten(json.loads(each.to_json()))) for each in (self, other))
        return [
            f"{name}: expected {mine.get(name, 'none')}, got {theirs.get(name, 'none')} in the "
            "store"
            for name in sorted({*mine, *theirs} - {"config", "version"})
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
        folder (str | os.PathLike): Folder of the store, finished or not.

    Returns:
        StoreHeader: Validated header.

    Raises:
        FeatureStoreError: If the header is missing, damaged or of an unsupported version.
    """
    try:
        with open(osp.join(folder, HEADER), encoding="utf-8") as file:
            content = json.load(file)
        version = content["version"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise FeatureStoreError(
            f"{folder} is not a store of teacher features ({HEADER}: {error}). Write one with "
            f"{TOOL}"
        ) from error
    if version not in READ_VERSIONS or isinstance(version, (bool, float)):
        raise FeatureStoreError(
            f"{folder}: expected a store of version {READ_VERSIONS[0]} to {READ_VERSIONS[-1]}, got "
            f"{str(version)[:40]}. Write it again with {TOOL} --fresh"
        )
    try:
        header = StoreHeader(**content)
        _check_layout(header)
    except (TypeError, KeyError, ValueError) as error:
        raise FeatureStoreError(
            f"{folder}: its {HEADER} is damaged ({error}). Write it again with {TOOL} --fresh"
        ) from error
    return header


def _check_layout(header: StoreHeader) -> None:
    if header.dtype not in DTYPES:
        raise ValueError(f"expected dtype of {', '.join(DTYPES)}, got {str(header.dtype)[:40]!r}")
    if not isinstance(header.mirrored, bool):
        raise ValueError(f"expected mirrored to be true or false, got {str(header.mirrored)[:40]}")
    shapes = header.shapes
    if not isinstance(shapes, list) or not 0 < len(shapes) <= _MAX_STAGES:
        raise ValueError("shapes must be a list of the shapes of the stages")
    for shape in shapes:
        if not isinstance(shape, list) or len(shape) != 3:
            raise ValueError(f"expected a shape (C, H, W), got {str(shape)[:40]}")
        if not all(_is_count(side, _MAX_SIDE) for side in shape):
            raise ValueError(f"expected a shape of positive numbers, got {str(shape)[:40]}")
    if not isinstance(header.data_set, dict) or not _is_count(header.length, _MAX_LENGTH):
        raise ValueError(f"expected data_set.length >= 0, got {str(header.length)[:40]}")
    if not isinstance(header.teacher, dict) or not isinstance(header.teacher["sha256"], str):
        raise TypeError("teacher.sha256 must be a string")


def _is_count(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value <= most


def files_of(folder: str | os.PathLike) -> list[str]:
    """List the files of a store by its header.

    Args:
        folder (str | os.PathLike): Folder of the store, finished or not, of any version.

    Returns:
        list[str]: File names, including files that may be missing; empty if the folder is not a
        store.
    """
    try:
        with open(osp.join(folder, HEADER), encoding="utf-8") as file:
            content = json.load(file)
        stages = len(content["shapes"])
        known = {"version", "data_set", "teacher", "dtype"} <= set(content)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    if not known or stages > _MAX_STAGES:
        return []
    # The header comes last, so that a store can be recognized until its removal is complete.
    return [
        *(osp.basename(stage_file("", stage)) for stage in range(stages)),
        *(KEYS, CHECKSUMS, PROGRESS, HEADER),
    ]


def stage_file(folder: str, stage: int) -> str:
    """Return the path of the file with the maps of a stage.

    Args:
        folder (str): Folder of the store.
        stage (int): Index of the stage in the store.

    Returns:
        str: Path of the .npy file.
    """
    return osp.join(folder, f"stage_{stage}.npy")
