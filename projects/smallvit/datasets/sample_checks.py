"""Checks of a data set's samples: files that are missing or broken, labels that cannot be right."""

from __future__ import annotations

import hashlib
import os.path as osp
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import LoadAnnotations, LoadImageFromFile

from smallvit.datasets.io.image_lists import clashing_names
from smallvit.datasets.io.images import decode
from smallvit.datasets.io.parallel import read_all
from smallvit.errors import ImageError

MISSING, UNREADABLE, MISLABELLED = "missing", "unreadable", "mislabelled"
#: The value of a label map that stands for no class.
IGNORED = 255


@dataclass(frozen=True)
class Finding:
    """Something wrong with a file.

    Args:
        kind (str): ``missing``, ``unreadable`` (truncated too) or ``mislabelled``.
        path (str): The file, or the key in an LMDB store.
        reason (str): What is wrong.
    """

    kind: str
    path: str
    reason: str


@dataclass
class Checked:
    """A sample after its check.

    Args:
        path (str): Its image.
        labels (tuple[int, ...], optional): Its labels. Defaults to None: no classification.
        digest (bytes, optional): A fingerprint of the image's bytes. Defaults to None.
        findings (list[Finding]): What is wrong with it.
    """

    path: str
    labels: tuple[int, ...] | None = None
    digest: bytes | None = None
    findings: list[Finding] = field(default_factory=list)


def parts_of(dataset: Any) -> Iterator[Any]:
    """Find the data sets with samples of their own in a concatenation or wrapper.

    Args:
        dataset (Dataset): A data set of any MM library.

    Yields:
        Dataset: The innermost ones, or a choice of the samples of one.
    """
    inner = _inner(dataset)
    if not inner or len(dataset) < sum(map(len, inner)):
        yield dataset
        return
    for one in inner:
        yield from parts_of(one)


def _inner(dataset: Any) -> list:
    several = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    return [one for one in several if one is not None]


def transform_of(dataset: Any, kind: type) -> Any:
    """Find the transform that loads a data set's images or annotations.

    Args:
        dataset (Dataset): The data set.
        kind (type): The class of the transform.

    Returns:
        The first of that class in the pipeline, or None.
    """
    transforms = getattr(getattr(dataset, "pipeline", None), "transforms", ())
    found = (one for one in transforms if isinstance(one, kind))
    deeper = (transform_of(one, kind) for one in _inner(dataset))
    return next(found, None) or next(deeper, None)


class SampleChecks:
    """The samples of a data set, each checked when it is asked for.

    Args:
        dataset (Dataset): A data set with ``get_data_info``.
        num_classes (int, optional): Classes of the model. Defaults to None, those that the
            data set names.
    """

    def __init__(self, dataset: Any, num_classes: int | None = None) -> None:
        self.dataset = dataset
        self.image_loader = transform_of(dataset, LoadImageFromFile)
        self.map_loader = transform_of(dataset, LoadAnnotations)
        self.classes = (getattr(dataset, "metainfo", None) or {}).get("classes")
        counts = [num_classes, len(self.classes) if self.classes else None]
        self.num_classes = min((count for count in counts if count), default=None)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Checked:
        """Check a sample.

        Args:
            index (int): Its index.

        Returns:
            Checked: What was found.
        """
        info = self.dataset.get_data_info(index)
        checked = Checked(str(info.get("img_path", f"sample {index}")))
        shape = self._check_image(info, checked)
        if info.get("gt_label") is not None:
            checked.labels = tuple(int(one) for one in np.atleast_1d(info["gt_label"]))
            self._check_labels(checked)
        if shape is not None and "height" in info and "width" in info:
            self._check_size(info, shape, checked)
        # mmseg's samples alone say this; mmdet's panoptic maps are no labels.
        if info.get("seg_map_path") and "reduce_zero_label" in info:
            self._check_map(info, shape, checked)
        return checked

    def _check_image(self, info: dict, checked: Checked) -> tuple[int, ...] | None:
        if "img" in info:  # kept in memory
            checked.digest = _digest(np.ascontiguousarray(info["img"]).tobytes())
            return info["img"].shape[:2]
        content = _read(checked.path, self.image_loader, checked)
        if content is None:
            return None
        checked.digest = _digest(content)
        settings = {
            "color_type": getattr(self.image_loader, "color_type", "color"),
            "backend": getattr(self.image_loader, "imdecode_backend", "cv2"),
        }
        image = _decode(content, checked.path, checked, **settings)
        return None if image is None else image.shape[:2]

    def _check_labels(self, checked: Checked) -> None:
        top = "" if self.num_classes is None else self.num_classes - 1
        for label in checked.labels:
            if label < 0 or (self.num_classes is not None and label >= self.num_classes):
                reason = f"label {label} is not one of 0 to {top}"
                checked.findings.append(Finding(MISLABELLED, checked.path, reason))

    def _check_size(self, info: dict, shape: tuple[int, ...], checked: Checked) -> None:
        if shape != (info["height"], info["width"]):
            reason = (
                f"{shape[1]}x{shape[0]} pixels, but {info['width']}x{info['height']} in the "
                "annotation file"
            )
            checked.findings.append(Finding(MISLABELLED, checked.path, reason))

    def _check_map(self, info: dict, shape: tuple[int, ...] | None, checked: Checked) -> None:
        path = info["seg_map_path"]
        content = _read(path, self.map_loader, checked)
        backend = getattr(self.map_loader, "imdecode_backend", "pillow")
        labels = content and _decode(content, path, checked, "unchanged", backend)
        if labels is None:
            return
        for reason in self._map_problems(labels.squeeze(), info, shape):
            checked.findings.append(Finding(MISLABELLED, path, reason))

    def _map_problems(
        self, labels: np.ndarray, info: dict, shape: tuple[int, ...] | None
    ) -> Iterator[str]:
        if labels.ndim != 2:
            yield f"not one label in a pixel: its shape is {labels.shape}"
            return
        if shape is not None and labels.shape != shape:
            yield f"{_size(labels.shape)} pixels, but {_size(shape)} in {info['img_path']}"
        count = len(info["label_map"]) if info.get("label_map") else self.num_classes
        if count is None:
            return
        first = 1 if info["reduce_zero_label"] else 0
        allowed = {*range(first, first + count), IGNORED, 0 if first else IGNORED}
        unknown = sorted(set(np.unique(labels).tolist()) - allowed)
        if unknown:
            shown = ", ".join(map(str, unknown[:5])) + (", ..." if len(unknown) > 5 else "")
            yield f"values {shown} are not one of {first} to {first + count - 1} (or {IGNORED})"


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]}x{shape[0]}"


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _read(path: str, loader: Any, checked: Checked) -> bytes | None:
    arguments = getattr(loader, "backend_args", None) or getattr(loader, "file_client_args", None)
    try:
        return fileio.get(path, backend_args=arguments)
    except FileNotFoundError:
        checked.findings.append(Finding(MISSING, path, "no such file"))
    except OSError as error:
        checked.findings.append(Finding(UNREADABLE, path, error.strerror or str(error)))
    except ImageError as error:  # no such key
        checked.findings.append(Finding(MISSING, path, str(error)))
    return None


def _decode(
    content: bytes, path: str, checked: Checked, color_type: str, backend: str
) -> np.ndarray | None:
    try:
        return decode(content, path, color_type, backend)
    except ImageError as error:
        reason = str(error).removeprefix(f"{path}: ")
        checked.findings.append(Finding(UNREADABLE, path, reason))
    return None


class Contents:
    """The images seen so far, by their bytes: one image under two labels is a wrong label."""

    def __init__(self) -> None:
        self._seen: dict[bytes, tuple[str, tuple[int, ...]]] = {}

    def compare(self, checked: Checked) -> Finding | None:
        """Compare an image with the earlier ones.

        Args:
            checked (Checked): A sample.

        Returns:
            Finding | None: That the same bytes had other labels.
        """
        if checked.digest is None or checked.labels is None:
            return None
        path, labels = self._seen.setdefault(checked.digest, (checked.path, checked.labels))
        if labels == checked.labels:
            return None
        here, there = (", ".join(map(str, some)) for some in (checked.labels, labels))
        reason = f"label {here}, but label {there} for the same content in {path}"
        return Finding(MISLABELLED, checked.path, reason)


def check_samples(
    dataset: Any, workers: int, contents: Contents, num_classes: int | None = None
) -> Iterator[Finding]:
    """Check every sample of a data set in worker processes.

    Args:
        dataset (Dataset): A data set with ``get_data_info``.
        workers (int): Worker processes.
        contents (Contents): The images seen in other data sets too.
        num_classes (int, optional): Classes of the model. Defaults to None.

    Yields:
        Finding: What is wrong, in the order of the samples.
    """
    checks = SampleChecks(dataset, num_classes)
    labels: set[int] = set()
    for items in read_all(checks, workers):
        for checked in items:
            yield from checked.findings
            again = contents.compare(checked)
            if again is not None:
                yield again
            labels.update(checked.labels or ())
    if labels:
        yield from _check_classes(dataset, checks.classes or (), labels)


def _check_classes(dataset: Any, classes: Sequence[str], labels: set[int]) -> Iterator[Finding]:
    where = getattr(dataset, "ann_file", "") or getattr(dataset, "img_prefix", "")
    where = osp.normpath(where) if where else type(dataset).__name__
    for label in sorted(set(range(len(classes))) - labels):
        yield Finding(MISSING, where, f"no image of class {classes[label]!r}")
    if hasattr(dataset, "folder_to_idx"):
        for clash in clashing_names(list(dataset.folder_to_idx)):
            yield Finding(MISLABELLED, where, clash)
