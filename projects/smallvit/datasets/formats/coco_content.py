"""Conversion of annotated images to COCO annotations."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from smallvit.datasets.formats.labeled import LabeledImage, Shape


def coco_content(images: Iterable[LabeledImage], classes: Sequence[str]) -> dict[str, Any]:
    """Convert annotated images to the COCO format.

    All ids start at 1, and ``iscrowd`` is 0 for all objects.

    Args:
        images (Iterable[LabeledImage]): Images with their objects.
        classes (Sequence[str]): Class names; the first one has category id 1.

    Returns:
        dict: COCO dictionary with ``images``, ``annotations`` and ``categories``.
    """
    numbers = {name: number for number, name in enumerate(classes, 1)}
    content: dict[str, Any] = {
        "images": [],
        "annotations": [],
        "categories": [{"id": number, "name": name} for name, number in numbers.items()],
    }
    annotations = content["annotations"]
    for image_id, image in enumerate(images, 1):
        width, height = image.size
        content["images"].append(
            {"id": image_id, "file_name": image.name, "width": width, "height": height}
        )
        for shape in image.shapes:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image_id,
                    "category_id": numbers[shape.label],
                    "bbox": list(shape.box),
                    "area": _area(shape),
                    "iscrowd": 0,
                    "segmentation": [list(polygon) for polygon in shape.polygons],
                }
            )
    return content


def _area(shape: Shape) -> float:
    """Compute the polygon area of an object, or its box area if the polygon area is zero."""
    area = sum(abs(_enclosed(polygon)) for polygon in shape.polygons)
    return round(area, 2) or round(shape.box[2] * shape.box[3], 2)


def _enclosed(polygon: Sequence[float]) -> float:
    columns, rows = polygon[::2], polygon[1::2]
    following = zip([*columns[1:], columns[0]], [*rows[1:], rows[0]], strict=True)
    pairs = zip(columns, rows, following, strict=True)
    return sum(x * other_y - other_x * y for x, y, (other_x, other_y) in pairs) / 2
