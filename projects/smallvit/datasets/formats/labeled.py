"""Data classes for annotated images, shared by the readers of all formats."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

#: Minimum side of a box in pixels: MMDetection ignores smaller objects in training.
LEAST_SIDE = 1.0
#: Decimals of the coordinates in COCO files.
DECIMALS = 4


@dataclass(frozen=True)
class Shape:
    """Object in an image.

    Args:
        label (str): Class of the object.
        box (tuple[float, ...]): x, y, width and height in pixels.
        polygons (tuple[tuple[float, ...], ...]): x, y, x, y, ... of each part of the outline.
            Defaults to (): the object has only a box.
    """

    label: str
    box: tuple[float, float, float, float]
    polygons: tuple[tuple[float, ...], ...] = ()


@dataclass
class LabeledImage:
    """Image with its annotated objects.

    Args:
        name (str): Path relative to the data folder, with ``/``.
        size (tuple[int, int]): Width and height after applying the EXIF orientation.
        shapes (list[Shape]): Objects in the image.
        split (str, optional): ``train``, ``val`` or ``test``. Defaults to None: not specified.
    """

    name: str
    size: tuple[int, int]
    shapes: list[Shape] = field(default_factory=list)
    split: str | None = None


@dataclass
class Labeled:
    """Annotations of a data folder.

    Args:
        kind (str): Name of the format.
        root (str): Data folder.
        classes (tuple[str, ...]): Names of the classes, in the order of the format.
        images (list[LabeledImage]): Images with their objects.
        unread (dict[str, tuple[int, str]]): Number and first location of the skipped entries, by
            reason.
        notes (list[str]): Further messages for the user.
    """

    kind: str
    root: str
    classes: tuple[str, ...] = ()
    images: list[LabeledImage] = field(default_factory=list)
    unread: dict[str, tuple[int, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def leave_out(self, reason: str, where: str) -> None:
        """Count a skipped entry.

        Args:
            reason (str): Reason why the entry is skipped.
            where (str): File and position in it.
        """
        number, first = self.unread.get(reason, (0, where))
        self.unread[reason] = number + 1, first

    def unread_lines(self) -> Iterator[str]:
        """Summarize the skipped entries.

        Yields:
            str: One line for each reason.
        """
        for reason, (number, first) in sorted(self.unread.items(), key=lambda one: -one[1][0]):
            yield f"skipped: {number} x {reason}, e.g. {first}"

    @property
    def objects(self) -> int:
        """int: Total number of objects."""
        return sum(len(image.shapes) for image in self.images)


def shape_of_polygons(label: str, polygons: Sequence[Sequence[float]]) -> Shape | str:
    """Create an object from its outline; the coordinates are not shifted.

    Args:
        label (str): Class of the object.
        polygons (Sequence[Sequence[float]]): x, y, x, y, ... of each part, in pixels.

    Returns:
        Shape | str: Object, or the reason why it is invalid.
    """
    values = [value for polygon in polygons for value in polygon]
    if not all(map(math.isfinite, values)):
        return "non-finite coordinates"
    if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons) or not polygons:
        return "polygon with fewer than three points"
    kept = tuple(tuple(round(value, DECIMALS) for value in polygon) for polygon in polygons)
    columns = [value for polygon in kept for value in polygon[::2]]
    rows = [value for polygon in kept for value in polygon[1::2]]
    box = (min(columns), min(rows), max(columns), max(rows))
    return Shape(label, _box_between(*box), kept)


def shape_of_box(label: str, left: float, top: float, right: float, bottom: float) -> Shape | str:
    """Create an object from its box.

    Args:
        label (str): Class of the object.
        left (float): Minimum x in pixels.
        top (float): Minimum y in pixels.
        right (float): Maximum x in pixels.
        bottom (float): Maximum y in pixels.

    Returns:
        Shape | str: Object, or the reason why it is invalid.
    """
    if not all(map(math.isfinite, (left, top, right, bottom))):
        return "non-finite coordinates"
    if right < left or bottom < top:
        return "box with its minimum above its maximum"
    return Shape(label, _box_between(left, top, right, bottom))


def _box_between(left: float, top: float, right: float, bottom: float) -> tuple:
    """Convert corners to x, y, width and height, with sides of at least one pixel."""
    x, width = _side(left, right)
    y, height = _side(top, bottom)
    return x, y, width, height


def _side(low: float, high: float) -> tuple[float, float]:
    length = round(high - low, DECIMALS)
    if length < LEAST_SIDE:
        low = max(0.0, (low + high) / 2 - LEAST_SIDE / 2)
        length = LEAST_SIDE
    return round(low, DECIMALS), length


def outside(box: tuple[float, float, float, float], size: tuple[int, int]) -> bool:
    """Check whether a box lies completely outside of its image.

    Args:
        box (tuple): x, y, width and height.
        size (tuple[int, int]): Width and height of the image.

    Returns:
        bool: Whether box and image do not overlap.
    """
    x, y, width, height = box
    return x >= size[0] or y >= size[1] or x + width <= 0 or y + height <= 0
