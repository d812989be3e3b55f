"""Vectorized selection of the objects in a COCO annotation file that are used in training.

COCO has 860,000 objects, so a Python loop over them would take longer than the first training
steps.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

#: Tolerance in pixels for boxes exceeding the image, because published boxes are rounded.
TOLERANCE = 1.0

#: Reasons why an object is ignored in training.
UNKNOWN_IMAGE = "of an image that is not in the file"
IGNORED = "marked 'ignore'"
THIN = "box smaller than a pixel"
OUTSIDE = "box outside of the image"
NO_AREA = "area of 0"
UNKNOWN_CATEGORY = "of a category that is not in the file"
OTHER_CLASS = "of a category that is not in classes"
CROWD = "marked iscrowd"
#: All reasons, in the order of the checks. Normalized boxes in [0, 1] are inside the image, but
#: less than a pixel wide.
REASONS = (
    *(UNKNOWN_IMAGE, IGNORED, THIN, OUTSIDE),
    *(NO_AREA, UNKNOWN_CATEGORY, OTHER_CLASS, CROWD),
)
#: Reasons that are intended rather than defects of the file.
CHOICES = (IGNORED, OTHER_CLASS, CROWD)
#: Value of ``Objects.reasons`` for objects used in training.
TRAINED = len(REASONS)


@dataclass
class Objects:
    """Annotations of a file as arrays.

    Args:
        images (np.ndarray): Index of the image of each object, of shape (N,); -1 if missing.
        boxes (np.ndarray): Boxes in (x, y, width, height) format, of shape (N, 4).
        sizes (np.ndarray): Image width and height for each object, of shape (N, 2); 0 if missing.
        categories (np.ndarray): Index of the category of each object, of shape (N,); -1 if
            missing.
        reasons (np.ndarray): Index into ``REASONS`` for ignored objects and ``TRAINED`` for the
            others, of shape (N,).
    """

    images: np.ndarray
    boxes: np.ndarray
    sizes: np.ndarray
    categories: np.ndarray
    reasons: np.ndarray

    @property
    def stand_out(self) -> np.ndarray:
        """np.ndarray: Mask of boxes that exceed the image by more than the tolerance."""
        low, high = self.boxes[:, :2], self.boxes[:, :2] + self.boxes[:, 2:]
        out = (low < -TOLERANCE) | (high > self.sizes + TOLERANCE)
        return out.any(1) & (self.images >= 0)

    @property
    def fit_as_corners(self) -> np.ndarray:
        """np.ndarray: Mask of boxes inside the image if interpreted as (x1, y1, x2, y2)."""
        low, high = self.boxes[:, :2], self.boxes[:, 2:]
        return ((low < high) & (high <= self.sizes + TOLERANCE)).all(1)


def read_objects(content: dict, classes: Collection[str]) -> Objects:
    """Determine which objects MMDetection uses in training, and why it ignores the others.

    Args:
        content (dict): Repaired content of the annotation file.
        classes (Collection[str]): Class names of the dataset.

    Returns:
        Objects: Annotations as arrays.
    """
    annotations = content["annotations"]
    images = _places(annotations, "image_id", content["images"])
    categories = _places(annotations, "category_id", content["categories"])
    boxes = np.array([one["bbox"] for one in annotations], float).reshape(-1, 4)
    known = [(one["width"], one["height"]) for one in content["images"]]
    sizes = np.array([*known, (0, 0)], float)[images]
    named = np.array([one["name"] in classes for one in content["categories"]] + [False])
    areas = np.array([one["area"] for one in annotations], float)
    crowds = np.array([one["iscrowd"] for one in annotations], bool)
    ignored = np.array([bool(one.get("ignore")) for one in annotations], bool)
    inside = np.minimum(boxes[:, :2] + boxes[:, 2:], sizes) - np.maximum(boxes[:, :2], 0)
    found = (
        *(images < 0, ignored, (boxes[:, 2:] < 1).any(1), (inside <= 0).any(1)),
        *(areas <= 0, categories < 0, ~named[categories], crowds),
    )
    reasons = np.select(found, range(TRAINED), TRAINED)
    return Objects(images, boxes, sizes, categories, reasons)


def _places(annotations: list[dict], key: str, table: list[dict]) -> np.ndarray:
    """Look up the index of each annotation's entry in a table; -1 if missing."""
    places = {one["id"]: place for place, one in enumerate(table)}
    return np.array([places.get(one[key], -1) for one in annotations], int)
