"""Prediction results of the three tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from smallvit.engine.predictions import CLASSIFICATION, DETECTION, SEGMENTATION
from smallvit.errors import UserError


def class_name(classes: Sequence[str], label: int) -> str:
    """Return the name of a class.

    Args:
        classes (Sequence[str]): Class names in the order of labels; may be incomplete.
        label (int): Index of the class.

    Returns:
        str: Name of the class, or its index if it has no name.
    """
    return str(classes[label]) if 0 <= label < len(classes) else str(label)


@dataclass(frozen=True)
class ClassPrediction:
    """Classification result of an image.

    Args:
        classes (Sequence[str]): Names of all classes.
        shape (tuple[int, int]): Height and width of the image.
        scores (np.ndarray): Score of each class, (C, ).
        label (int): Class with the highest score.
        exit_index (int, optional): Exit of a cascade that the image left at. Defaults to None.
        labels (tuple[int, ...], optional): Predicted classes of a multi-label classifier, by
            descending score; may be empty. Defaults to None for a single-label classifier.
    """

    classes: Sequence[str]
    shape: tuple[int, int]
    scores: np.ndarray
    label: int
    exit_index: int | None = None
    labels: tuple[int, ...] | None = None

    task: ClassVar[str] = CLASSIFICATION
    columns: ClassVar[tuple[str, ...]] = ("class", "score")

    @property
    def name(self) -> str:
        """str: Name of the predicted class, or comma-separated names of several; may be empty."""
        labels = (self.label,) if self.labels is None else self.labels
        return ", ".join(class_name(self.classes, label) for label in labels)

    @property
    def score(self) -> float:
        """float: Highest score."""
        return float(self.scores[self.label])

    def rows(self) -> Iterator[tuple]:
        """Yield table rows of class and score; without a class, one row with the highest score."""
        if not self.labels:
            yield (self.name, self.score)
        for label in self.labels or ():
            yield (class_name(self.classes, label), float(self.scores[label]))


@dataclass(frozen=True)
class InstancePrediction:
    """Detection or instance segmentation result of an image.

    Args:
        classes (Sequence[str]): Names of all classes.
        shape (tuple[int, int]): Height and width of the image.
        boxes (np.ndarray): Left, top, right and bottom in pixels, float32 (N, 4).
        scores (np.ndarray): Scores in descending order, (N, ).
        labels (np.ndarray): Class of each object, (N, ).
        masks (list[dict], optional): COCO run-length encoding of each mask. Defaults to None: the
            model only predicts boxes.
    """

    classes: Sequence[str]
    shape: tuple[int, int]
    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    masks: list[dict[str, Any]] | None = None

    task: ClassVar[str] = DETECTION
    columns: ClassVar[tuple[str, ...]] = ("class", "score", "x", "y", "width", "height")

    def __len__(self) -> int:
        return len(self.scores)

    def mask(self, index: int) -> np.ndarray:
        """Decode a mask.

        Args:
            index (int): Index of the object.

        Returns:
            np.ndarray: Mask, bool (H, W).

        Raises:
            UserError: If the model only predicts boxes.
        """
        from pycocotools import mask as coco_mask

        if self.masks is None:
            raise UserError("the model predicts only boxes and no masks")
        return coco_mask.decode(self.masks[index]).astype(bool)

    def rows(self) -> Iterator[tuple]:
        """Yield table rows of class, score, and the box as x, y, width and height."""
        for label, score, box in zip(self.labels, self.scores, self.boxes, strict=True):
            left, top, right, bottom = (round(float(value), 2) for value in box)
            name = class_name(self.classes, int(label))
            yield (name, float(score), left, top, round(right - left, 2), round(bottom - top, 2))


@dataclass(frozen=True)
class MapPrediction:
    """Semantic segmentation result of an image.

    Args:
        classes (Sequence[str]): Names of all classes.
        shape (tuple[int, int]): Height and width of the image.
        labels (np.ndarray): Class of each pixel, (H, W).
    """

    classes: Sequence[str]
    shape: tuple[int, int]
    labels: np.ndarray

    task: ClassVar[str] = SEGMENTATION
    columns: ClassVar[tuple[str, ...]] = ("class", "pixels", "share")

    def rows(self) -> Iterator[tuple]:
        """Yield table rows of each class present, its number of pixels and share of the image."""
        found, counts = np.unique(self.labels, return_counts=True)
        for label, count in zip(found.tolist(), counts.tolist(), strict=True):
            yield (class_name(self.classes, label), count, count / self.labels.size)


Prediction = ClassPrediction | InstancePrediction | MapPrediction

#: Table columns of each task.
COLUMNS = {kind.task: kind.columns for kind in (ClassPrediction, InstancePrediction, MapPrediction)}
