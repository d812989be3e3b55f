"""Sample validation for missing or damaged files and invalid labels."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

import mmengine.fileio as fileio
import numpy as np
from mmcv.transforms import LoadImageFromFile

from smallvit.datasets.image_checks import TRAITS, decode_as, traits_of
from smallvit.datasets.io.images import broken, size_fault
from smallvit.datasets.label_map_checks import check_maps_of, reads_label_maps
from smallvit.datasets.label_maps import size_fault as map_size_fault
from smallvit.datasets.parts import transform_of
from smallvit.errors import DataError, ImageError

MISSING, UNREADABLE, MISLABELED = "missing", "unreadable", "mislabeled"
#: Files not loaded as intended: high bit depth, multiple pages, transparency or rotation.
MISREAD = "misread"
#: Files in the dataset folder that are not part of the dataset.
LEFT_OUT = "left out"
#: Images that occur in two splits.
REPEATED = "repeated"


@dataclass(frozen=True)
class Finding:
    """Problem with a file of a dataset.

    Args:
        kind (str): ``missing``, ``unreadable`` (including truncated files), ``mislabeled``,
            ``misread``, ``left out`` or ``repeated``.
        path (str): Path of the file, or key in an LMDB store.
        reason (str): Description of the problem.
    """

    kind: str
    path: str
    reason: str


@dataclass
class Checked:
    """Result of checking a sample.

    Args:
        path (str): Path of the image.
        labels (tuple[int, ...], optional): Image labels. Defaults to None for tasks other than
            classification.
        digest (bytes, optional): Hash of the image file. Defaults to None.
        present (tuple[int, ...], optional): Labels that occur in the label map. Defaults to None
            for samples without a label map.
        findings (list[Finding]): Problems with the sample.
    """

    path: str
    labels: tuple[int, ...] | None = None
    digest: bytes | None = None
    present: tuple[int, ...] | None = None
    findings: list[Finding] = field(default_factory=list)

    def add(self, kind: str, reason: str, path: str | None = None) -> None:
        """Add a finding.

        Args:
            kind (str): Kind of the finding; see :class:`Finding`.
            reason (str): Description of the problem.
            path (str, optional): Path of the file. Defaults to None, which uses the image path.
        """
        path = path or self.path
        self.findings.append(Finding(kind, path, reason.removeprefix(path).lstrip(": ")))


class SampleChecks:
    """Dataset wrapper that checks samples on access.

    Args:
        dataset (Dataset): Dataset with a ``get_data_info`` method.
        num_classes (int, optional): Number of classes of the model. Defaults to None, which uses
            the classes of the dataset.
    """

    def __init__(self, dataset: Any, num_classes: int | None = None) -> None:
        self.dataset = dataset
        self.image_loader = transform_of(dataset, LoadImageFromFile)
        self.map_loader = check_maps_of(dataset) if reads_label_maps(dataset) else None
        self.classes = (getattr(dataset, "metainfo", None) or {}).get("classes")
        counts = [num_classes, len(self.classes) if self.classes else None]
        self.num_classes = min((count for count in counts if count), default=None)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Checked:
        """Check a sample.

        Args:
            index (int): Index of the sample.

        Returns:
            Checked: Result of the checks.
        """
        info = self.dataset.get_data_info(index)
        checked = Checked(str(info.get("img_path", f"sample {index}")))
        shape = self._check_image(info, checked)
        if info.get("gt_label") is not None:
            checked.labels = tuple(int(one) for one in np.atleast_1d(info["gt_label"]))
            self._check_labels(checked)
        if self.map_loader is not None:
            self._check_map(info, shape, checked)
        return checked

    def _check_image(self, info: dict, checked: Checked) -> tuple[int, ...] | None:
        if "img" in info:  # stored in memory
            checked.digest = _digest(np.ascontiguousarray(info["img"]).tobytes())
            return info["img"].shape[:2]
        content = _read(checked.path, self.image_loader, checked)
        if content is None:
            return None
        checked.digest = _digest(content)
        try:
            image = decode_as(self.image_loader, content, checked.path)
        except (ImageError, DataError) as error:
            checked.add(MISREAD if isinstance(error, DataError) else UNREADABLE, str(error))
            return None
        fault = size_fault(content, image, info)
        if fault is not None:
            checked.add(MISLABELED, fault)
        if hasattr(self.image_loader, "reader"):
            return image.shape[:2]  # multi-band images: all pages are read
        color_type = getattr(self.image_loader, "color_type", "color")
        for trait in traits_of(content, image, info, color_type):
            checked.add(MISREAD, TRAITS[trait][0])
        return image.shape[:2]

    def _check_labels(self, checked: Checked) -> None:
        top = "" if self.num_classes is None else self.num_classes - 1
        for label in checked.labels:
            if label < 0 or (self.num_classes is not None and label >= self.num_classes):
                checked.add(MISLABELED, f"label {label} is not one of 0 to {top}")

    def _check_map(self, info: dict, shape: tuple[int, ...] | None, checked: Checked) -> None:
        path = info["seg_map_path"]
        content = _read(path, self.map_loader, checked)
        if content is None:
            return
        try:
            reason = broken(content)
            if reason is not None:
                raise ImageError(reason)
            labels = self.map_loader.labels(content, info)
        except (ImageError, DataError) as error:
            kind = MISLABELED if isinstance(error, DataError) else UNREADABLE
            checked.add(kind, str(error), path)
            return
        checked.present = tuple(np.unique(labels).tolist())
        if shape is not None and labels.shape != shape:
            checked.add(MISLABELED, map_size_fault(path, labels.shape, checked.path, shape), path)


def _digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def _read(path: str, loader: Any, checked: Checked) -> bytes | None:
    arguments = getattr(loader, "backend_args", None) or getattr(loader, "file_client_args", None)
    try:
        return fileio.get(path, backend_args=arguments)
    except FileNotFoundError:
        checked.add(MISSING, "no such file", path)
    except OSError as error:
        checked.add(UNREADABLE, error.strerror or str(error), path)
    except ImageError as error:  # key not found
        checked.findings.append(Finding(MISSING, path, str(error)))
    return None
