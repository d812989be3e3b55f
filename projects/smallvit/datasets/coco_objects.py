"""Vectorized selection of the objects in a COCO annotation file that are used in training.

COCO itself has 860,000 objects; one call for each would take longer than the first training
steps.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

#: Pixels by which a box may exceed its image; published boxes are rounded.
TOLERANCE = 1.0

#: Reasons why an object is not used in training.
UNKNOWN_IMAGE = "of an image that is not in the file"
IGNORED = "marked 'ignore'"
THIN = "box smaller than a pixel"
OUTSIDE = "box outside of the image"
NO_AREA = "area of 0"
UNKNOWN_CATEGORY = "of a category that is not in the file"
OTHER_CLASS = "of a category that is not in classes"
CROWD = "marked iscrowd"
#: In the order in which they are checked: in a file of boxes in 0..1 none is outside, and
#: none is a pixel wide.
REASONS = (
    *(UNKNOWN_IMAGE, IGNORED, THIN, OUTSIDE),
    *(NO_AREA, UNKNOWN_CATEGORY, OTHER_CLASS, CROWD),
)
#: Reasons that are intended rather than defects of the file.
CHOICES = (IGNORED, OTHER_CLASS, CROWD)
#: Index for objects that are used in training.
TRAINED = len(REASONS)


@dataclass
class Objects:
    """Annotations of a file as arrays.

    Args:
        images (np.ndarray): Place of each one's image in the file, (N,); -1 where there is none.
        boxes (np.ndarray): x, y, width, height, (N, 4).
        sizes (np.ndarray): Width and height of the images, (N, 2); 0 where there is none.
        categories (np.ndarray): Place of each one's category in the file, (N,); -1 where there
            is none.
        reasons (np.ndarray): Place in ``REASONS`` of why each is left out, (N,), or ``TRAINED``.
    """

    images: np.ndarray
    boxes: np.ndarray
    sizes: np.ndarray
    categories: np.ndarray
    reasons: np.ndarray

    @property
    def stand_out(self) -> np.ndarray:
        """np.ndarray: Whether each box exceeds its image by more than the tolerance."""
        low, high = self.boxes[:, :2], self.boxes[:, :2] + self.boxes[:, 2:]
        out = (low < -TOLERANCE) | (high > self.sizes + TOLERANCE)
        return out.any(1) & (self.images >= 0)

    @property
    def fit_as_corners(self) -> np.ndarray:
        """np.ndarray: Whether each box would be inside its image as x1, y1, x2, y2."""
        low, high = self.boxes[:, :2], self.boxes[:, 2:]
        return ((low < high) & (high <= self.sizes + TOLERANCE)).all(1)


def read_objects(content: dict, classes: Collection[str]) -> Objects:
    """Determine which objects MMDetection uses in training, and why it drops the others.

    Args:
        content (dict): The JSON, repaired.
        classes (Collection[str]): Classes of the dataset.

    Returns:
        Objects: The columns.
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
    """Index of each annotation's entry in a table; -1 if it has none."""
    places = {one["id"]: place for place, one in enumerate(table)}
    return np.array([places.get(one[key], -1) for one in annotations], int)
