"""Images with objects, as the readers of all formats describe them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

#: The least side of a box in pixels: MMDetection trains no object below it.
LEAST_SIDE = 1.0
#: What is written of a coordinate.
DECIMALS = 4


@dataclass(frozen=True)
class Shape:
    """An object of an image.

    Args:
        label (str): Class of the object.
        box (tuple[float, ...]): x, y, width and height in pixels.
        polygons (tuple[tuple[float, ...], ...]): x, y, x, y, ... of each of its parts.
            Defaults to none: a box is all that is known of it.
    """

    label: str
    box: tuple[float, float, float, float]
    polygons: tuple[tuple[float, ...], ...] = ()


@dataclass
class LabelledImage:
    """An image and what was marked in it.

    Args:
        name (str): Its path below the data folder, with ``/``.
        size (tuple[int, int]): Width and height, as a viewer shows it.
        shapes (list[Shape]): Its objects.
        split (str, optional): ``train``, ``val`` or ``test``. Defaults to None: not said.
    """

    name: str
    size: tuple[int, int]
    shapes: list[Shape] = field(default_factory=list)
    split: str | None = None


@dataclass
class Labelled:
    """All that was read from a folder.

    Args:
        kind (str): Name of the format.
        root (str): Data folder.
        classes (tuple[str, ...]): Names of the classes, in the order of the format.
        images (list[LabelledImage]): The images.
        unread (dict[str, tuple[int, str]]): How often something was not read, by reason, and
            where first.
        notes (list[str]): What else is worth knowing.
    """

    kind: str
    root: str
    classes: tuple[str, ...] = ()
    images: list[LabelledImage] = field(default_factory=list)
    unread: dict[str, tuple[int, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def leave_out(self, reason: str, where: str) -> None:
        """Count something that is not read.

        Args:
            reason (str): Why.
            where (str): The file, and the place in it.
        """
        number, first = self.unread.get(reason, (0, where))
        self.unread[reason] = number + 1, first

    def unread_lines(self) -> Iterator[str]:
        """Say what was not read.

        Yields:
            str: A line for each reason.
        """
        for reason, (number, first) in sorted(self.unread.items(), key=lambda one: -one[1][0]):
            yield f"not read: {number} x {reason}, such as {first}"

    @property
    def objects(self) -> int:
        """int: Objects of all images."""
        return sum(len(image.shapes) for image in self.images)


def shape_of_polygons(label: str, polygons: Sequence[Sequence[float]]) -> Shape | str:
    """Make an object of its outline, whose coordinates stay as they are.

    Args:
        label (str): Class of the object.
        polygons (Sequence[Sequence[float]]): x, y, x, y, ... of each part, in pixels.

    Returns:
        Shape | str: Object, or the reason why it is invalid.
    """
    values = [value for polygon in polygons for value in polygon]
    if not all(map(math.isfinite, values)):
        return "coordinates that are no numbers"
    if any(len(polygon) < 6 or len(polygon) % 2 for polygon in polygons) or not polygons:
        return "polygon of less than three points"
    kept = tuple(tuple(round(value, DECIMALS) for value in polygon) for polygon in polygons)
    columns = [value for polygon in kept for value in polygon[::2]]
    rows = [value for polygon in kept for value in polygon[1::2]]
    box = (min(columns), min(rows), max(columns), max(rows))
    return Shape(label, _box_between(*box), kept)


def shape_of_box(label: str, left: float, top: float, right: float, bottom: float) -> Shape | str:
    """Make an object of its box.

    Args:
        label (str): Class of the object.
        left (float): Its left side, in pixels.
        top (float): Its top.
        right (float): Its right side.
        bottom (float): Its bottom.

    Returns:
        Shape | str: Object, or the reason why it is invalid.
    """
    if not all(map(math.isfinite, (left, top, right, bottom))):
        return "coordinates that are no numbers"
    if right < left or bottom < top:
        return "box whose sides are exchanged"
    return Shape(label, _box_between(left, top, right, bottom))


def _box_between(left: float, top: float, right: float, bottom: float) -> tuple:
    """An object thinner than a pixel, a line of pixels for one, gets a box of a pixel."""
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
    """Tell whether a box lies wholly beside its image.

    Args:
        box (tuple): x, y, width and height.
        size (tuple[int, int]): Width and height of the image.

    Returns:
        bool: Whether no part of it is inside.
    """
    x, y, width, height = box
    return x >= size[0] or y >= size[1] or x + width <= 0 or y + height <= 0
