"""Data classes for annotated images, shared by the readers of all annotation formats."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

#: Minimum box side in pixels; MMDetection ignores smaller objects during training.
LEAST_SIDE = 1.0
#: Number of decimals of the coordinates in COCO files.
DECIMALS = 4


@dataclass(frozen=True)
class Shape:
    """Annotated object with a box and optional polygons.

    Args:
        label (str): Class name.
        box (tuple[float, ...]): Box (x, y, width, height) in pixels.
        polygons (tuple[tuple[float, ...], ...]): Polygon coordinates (x, y, x, y, ...) of each part
            of the object. Defaults to (): the object has only a box.
    """

    label: str
    box: tuple[float, float, float, float]
    polygons: tuple[tuple[float, ...], ...] = ()


@dataclass
class LabeledImage:
    """Image with its annotated objects.

    Args:
        name (str): Image path relative to the data folder, with ``/`` as separator.
        size (tuple[int, int]): Width and height after applying the EXIF orientation.
        shapes (list[Shape]): Annotated objects.
        split (str, optional): ``train``, ``val`` or ``test``. Defaults to None: no split is
            defined.
    """

    name: str
    size: tuple[int, int]
    shapes: list[Shape] = field(default_factory=list)
    split: str | None = None


@dataclass
class Labeled:
    """Parsed annotations of a data folder.

    Args:
        kind (str): Display name of the annotation format.
        root (str): Data folder.
        classes (tuple[str, ...]): Class names, in the order of the annotation format.
        images (list[LabeledImage]): Images with their objects.
        unread (dict[str, tuple[int, str]]): Number of skipped entries and location of the first
            one, by reason.
        notes (list[str]): Additional messages for the user.
    """

    kind: str
    root: str
    classes: tuple[str, ...] = ()
    images: list[LabeledImage] = field(default_factory=list)
    unread: dict[str, tuple[int, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def leave_out(self, reason: str, where: str) -> None:
        """Record a skipped entry.

        Args:
            reason (str): Reason why the entry is skipped.
            where (str): Location of the entry: file, and position in the file.
        """
        number, first = self.unread.get(reason, (0, where))
        self.unread[reason] = number + 1, first

    def unread_lines(self) -> Iterator[str]:
        """Format the skipped entries as messages, the most frequent reason first.

        Yields:
            str: One line per reason.
        """
        for reason, (number, first) in sorted(self.unread.items(), key=lambda one: -one[1][0]):
            yield f"skipped: {number} x {reason}, e.g. {first}"

    @property
    def objects(self) -> int:
        """int: Total number of objects in all images."""
        return sum(len(image.shapes) for image in self.images)


def shape_of_polygons(label: str, polygons: Sequence[Sequence[float]]) -> Shape | str:
    """Create an object from polygons, without a coordinate offset.

    Args:
        label (str): Class name.
        polygons (Sequence[Sequence[float]]): Polygon coordinates (x, y, x, y, ...) of each part, in
            pixels.

    Returns:
        Shape | str: Object, or the reason why the coordinates are invalid.
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
    """Create an object from a box.

    Args:
        label (str): Class name.
        left (float): Minimum x in pixels.
        top (float): Minimum y in pixels.
        right (float): Maximum x in pixels.
        bottom (float): Maximum y in pixels.

    Returns:
        Shape | str: Object, or the reason why the coordinates are invalid.
    """
    if not all(map(math.isfinite, (left, top, right, bottom))):
        return "non-finite coordinates"
    if right < left or bottom < top:
        return "box with its minimum above its maximum"
    return Shape(label, _box_between(left, top, right, bottom))


def _box_between(left: float, top: float, right: float, bottom: float) -> tuple:
    """Convert corners to (x, y, width, height) with a minimum side of one pixel."""
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
    """Check whether a box is completely outside of its image.

    Args:
        box (tuple): Box (x, y, width, height) in pixels.
        size (tuple[int, int]): Width and height of the image.

    Returns:
        bool: True if box and image do not overlap.
    """
    x, y, width, height = box
    return x >= size[0] or y >= size[1] or x + width <= 0 or y + height <= 0
