"""Reader for LabelMe annotations: one JSON file per image with polygons, boxes and circles."""

from __future__ import annotations

import json
import math
import os.path as osp
from typing import Any

from smallvit.datasets.formats.folders import (
    content_of,
    files_below,
    images_below,
    inside,
    size_of_image,
    split_of,
)
from smallvit.datasets.formats.labeled import (
    Labeled,
    LabeledImage,
    Shape,
    outside,
    shape_of_box,
    shape_of_polygons,
)
from smallvit.errors import DataError

KIND = "LabelMe"
#: Labels that the converters of LabelMe skip.
NO_CLASS = ("__ignore__", "_background_")
#: Number of vertices of the polygon that approximates a circle.
CORNERS = 32


def is_labelme(root: str) -> bool:
    """Check whether a folder contains LabelMe annotations.

    Args:
        root (str): Folder to search.

    Returns:
        bool: True if one of the first 20 JSON files contains a list of shapes.
    """
    for name in files_below(root, (".json",))[:20]:
        content = content_of(osp.join(root, name))
        if isinstance(content, bytes) and _described(content) is not None:
            return True
    return False


def _described(content: bytes) -> dict | None:
    try:
        found = json.loads(content.decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return None
    listed = isinstance(found, dict) and isinstance(found.get("shapes"), list)
    return found if listed else None


def read_labelme(root: str) -> Labeled:
    """Read the LabelMe annotations of a data folder.

    Shapes with the same ``group_id`` and label are parts of one object. Rectangles are read as
    boxes without polygons, even in files that also contain polygons.

    Args:
        root (str): Data folder.

    Returns:
        Labeled: Images with their objects, and the skipped entries by reason.

    Raises:
        DataError: If the folder contains no file of this format.
    """
    found = Labeled(KIND, root)
    names = files_below(root, (".json",))
    if not names:
        raise DataError(f"{root} contains no JSON file of {KIND}")
    images = images_below(root)
    known, taken = set(images), {}
    by_stem = {osp.splitext(name)[0]: name for name in reversed(images)}
    for name in names:
        content = content_of(osp.join(root, name))
        if isinstance(content, str):
            found.leave_out(content, name)
            continue
        described = _described(content)
        if described is None:
            found.leave_out(f"JSON file that is not in the format of {KIND}", name)
            continue
        image = _image_of(found, described, name, known, by_stem)
        if image is None:
            continue
        if image in taken:
            found.leave_out(f"second label file of an image (first: {taken[image]})", name)
            continue
        taken[image] = name
        _read_image(found, described, name, image)
    for image in images:
        if image not in taken:
            found.leave_out("image without a label file", image)
    found.classes = tuple(sorted({one.label for image in found.images for one in image.shapes}))
    return found


def _image_of(
    found: Labeled, described: dict, name: str, known: set[str], by_stem: dict[str, str]
) -> str | None:
    said = described.get("imagePath")
    folder = osp.dirname(name)
    path = inside(folder, said) if isinstance(said, str) else None
    if path in known:
        return path
    beside = by_stem.get(osp.splitext(name)[0])
    if beside is not None:
        return beside
    if isinstance(said, str) and path is None:
        found.leave_out("image path outside of the data folder", f"{said} in {name}")
    else:
        found.leave_out("label file without its image", name)
    return None


def _read_image(found: Labeled, described: dict, name: str, image: str) -> None:
    size = size_of_image(osp.join(found.root, image))
    if isinstance(size, str):
        found.leave_out(size, image)
        return
    entry = LabeledImage(image, size, split=split_of(name) or split_of(image))
    groups: dict[Any, list[Shape]] = {}
    for number, one in enumerate(described["shapes"], 1):
        shape = _shape(one)
        if isinstance(shape, Shape) and outside(shape.box, size):
            shape = "shape outside of the image"
        if isinstance(shape, str):
            found.leave_out(shape, f"shape {number} of {name}")
            continue
        group = one.get("group_id")
        alone = type(group) is not int or not shape.polygons
        groups.setdefault(number if alone else (group, shape.label), []).append(shape)
    entry.shapes = [_joined(parts) for parts in groups.values()]
    found.images.append(entry)


def _joined(parts: list[Shape]) -> Shape:
    if len(parts) == 1:
        return parts[0]
    joined = shape_of_polygons(parts[0].label, [one for part in parts for one in part.polygons])
    return joined if isinstance(joined, Shape) else parts[0]


def _shape(one: Any) -> Shape | str:
    if not isinstance(one, dict) or not isinstance(one.get("label"), str) or not one["label"]:
        return "shape without a label"
    label, kind = one["label"].strip(), one.get("shape_type") or "polygon"
    if label in NO_CLASS:
        return f"shape with the label {label}"
    points = _points(one.get("points"))
    if points is None:
        return "coordinates that are not numbers"
    if kind == "rectangle" and len(points) >= 2:
        columns, rows = zip(*points, strict=True)
        return shape_of_box(label, min(columns), min(rows), max(columns), max(rows))
    if kind == "circle" and len(points) == 2:
        return shape_of_polygons(label, [_circle(*points)])
    if kind == "polygon":
        return shape_of_polygons(label, [[value for point in points for value in point]])
    return f"shape of type {str(kind)[:20]}, which is not supported"


def _points(found: Any) -> list[tuple[float, float]] | None:
    if not isinstance(found, list):
        return None
    points = []
    for point in found:
        pair = isinstance(point, list) and len(point) == 2
        if not pair or not all(type(value) in (int, float) for value in point):
            return None
        points.append((float(point[0]), float(point[1])))
    return points


def _circle(center: tuple[float, float], edge: tuple[float, float]) -> list[float]:
    radius = math.dist(center, edge)
    angles = (2 * math.pi * number / CORNERS for number in range(CORNERS))
    around = ((math.cos(angle), math.sin(angle)) for angle in angles)
    return [value for x, y in around for value in (center[0] + radius * x, center[1] + radius * y)]
