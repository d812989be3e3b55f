"""Validation and in-memory repair of COCO annotation files.

Some unambiguous files are misread: pycocotools counts an object with id 0 as missed, and
MMDetection does not match an ``image_id`` of "7" with an image id of 7.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from smallvit.errors import DataError

IMAGE_KEYS = ("id", "file_name", "width", "height")
ANNOTATION_KEYS = ("image_id", "category_id", "bbox")
CATEGORY_KEYS = ("id", "name")


@dataclass(frozen=True)
class Repair:
    """Type of defect repaired in an annotation file.

    Args:
        text (str): Description of the defect and the repair.
        for_training (bool): Whether the defect affects training. If False, it affects only the
            metric. Defaults to True.
    """

    text: str
    for_training: bool = True

    def __str__(self) -> str:
        return self.text


def require_content(content: Any, path: str) -> None:
    """Check that an annotation file has the fields required by a detection dataset.

    Args:
        content (Any): Content of the annotation file.
        path (str): Path of the file, for error messages.

    Raises:
        DataError: If a required field is missing, or a box does not have four numbers.
    """
    if not isinstance(content, dict) or not isinstance(content.get("images"), list):
        raise DataError(
            f"annotation file {path} has no list 'images', so it is not in COCO's format"
        )
    if not isinstance(content.get("categories"), list):
        raise DataError(
            f"annotation file {path} has no list 'categories'. Add it with the ids and names of "
            "the classes"
        )
    content.setdefault("annotations", [])  # test set without annotations
    if not isinstance(content["annotations"], list):
        raise DataError(
            f"annotation file {path}: expected 'annotations' to be a list, got "
            f"{type(content['annotations']).__name__}"
        )
    if not content["images"]:
        raise DataError(f"annotation file {path} lists no image: 'images' is empty")
    _require_keys(content["images"], IMAGE_KEYS, "image", path)
    _require_keys(content["categories"], CATEGORY_KEYS, "category", path)
    _require_keys(content["annotations"], ANNOTATION_KEYS, "annotation", path)
    _require_ids(content, path)
    _require_texts(content, path)
    boxes = [one["bbox"] for one in content["annotations"]]
    wrong = [] if _are_boxes(boxes) else _not_boxes(content["annotations"])
    if wrong:
        one = wrong[0]
        raise DataError(
            f"annotation file {path}: expected the bbox of annotation {one.get('id')} to be the "
            f"four numbers x, y, width and height, got {one['bbox']!r}{_more(wrong)}"
        )
    sizes = [one for one in content["images"] if not _has_size(one)]
    if sizes:
        one = sizes[0]
        raise DataError(
            f"annotation file {path}: expected the size of image {one['file_name']} in pixels, got "
            f"width {one['width']!r} and height {one['height']!r}{_more(sizes)}"
        )


def _require_keys(entries: list, keys: tuple[str, ...], kind: str, path: str) -> None:
    for key in keys:
        if _have(entries, key):
            continue
        lacking = [one for one in entries if not isinstance(one, dict) or one.get(key) is None]
        if lacking:
            named = lacking[0] if isinstance(lacking[0], dict) else {}
            name = named.get("id", named.get("file_name", entries.index(lacking[0])))
            raise DataError(
                f"annotation file {path}: {kind} {name} has no {key!r}{_more(lacking)}. Add it"
            )


def _more(entries: list) -> str:
    return f" (and {len(entries) - 1} more)" if len(entries) > 1 else ""


def _require_ids(content: dict, path: str) -> None:
    columns = (("images", "id"), ("categories", "id"))
    for table, key in (*columns, ("annotations", "image_id"), ("annotations", "category_id")):
        values = [one[key] for one in content[table]]
        for kind in set(map(type, values)) - {int, float, str}:
            value = next(one for one in values if type(one) is kind)
            raise DataError(
                f"annotation file {path}: expected {key} of {table} to be a number or a string, "
                f"got {value!r}"
            )


def _require_texts(content: dict, path: str) -> None:
    for table, kind, key in (("images", "image", "file_name"), ("categories", "category", "name")):
        wrong = [one for one in content[table] if not isinstance(one[key], str)]
        if wrong:
            raise DataError(
                f"annotation file {path}: expected {key} of {kind} {wrong[0]['id']} to be a "
                f"string, got {wrong[0][key]!r}{_more(wrong)}"
            )


def _have(entries: list, key: str) -> bool:
    try:
        return None not in [one[key] for one in entries]
    except (KeyError, TypeError):
        return False


def _are_boxes(boxes: list) -> bool:
    """Check whether all boxes have four numbers. Vectorized for files with many boxes."""
    try:
        values = np.array(boxes or [[0, 0, 0, 0]])
    except ValueError:  # boxes of different lengths
        return False
    return values.dtype.kind in "if" and values.shape[1:] == (4,) and np.isfinite(values).all()


def _not_boxes(annotations: list) -> list:
    return [one for one in annotations if not _is_box(one["bbox"])]


def _is_box(box: Any) -> bool:
    try:
        left, top, width, height = box
        total = left + top + width + height
        return total - total == 0  # False for NaN and infinity
    except (TypeError, ValueError):
        return False


def _has_size(image: dict) -> bool:
    return all(isinstance(image[key], Real) and image[key] > 0 for key in ("width", "height"))


def repair(content: dict, path: str) -> list[Repair]:
    """Repair unambiguous defects of an annotation file in memory.

    Args:
        content (dict): Content of the annotation file, modified in place.
        path (str): Path of the file, for messages.

    Returns:
        list[Repair]: Repairs made.

    Raises:
        DataError: If a required field is missing and cannot be inferred.
    """
    require_content(content, path)
    steps: tuple[Callable[[dict], Iterator[Repair]], ...] = (
        *(_match_image_ids, _match_category_ids, _fill_crowd, _fill_area),
        *(_nest_polygons, _number),
    )
    return [note for step in steps for note in step(content)]


def _match_image_ids(content: dict) -> Iterator[Repair]:
    yield from _match(content, "image_id", "images")


def _match_category_ids(content: dict) -> Iterator[Repair]:
    yield from _match(content, "category_id", "categories")


def _match(content: dict, key: str, table: str) -> Iterator[Repair]:
    """Convert ids to match references of another type, such as "7" and 7."""
    known = {one["id"] for one in content[table]}
    unmatched = [one for one in content["annotations"] if one[key] not in known]
    by_text = {str(name): name for name in known} if unmatched else {}
    found = [one for one in unmatched if str(one[key]) in by_text]
    for one in found:
        one[key] = by_text[str(one[key])]
    if found:
        value = found[0][key]
        there = "numbers" if isinstance(value, int) else "text"
        yield Repair(
            f"{key} of {len(found)} annotations is {'text' if there == 'numbers' else 'a number'}, "
            f"but the ids of the {table} are {there}; compared as text"
        )


def _fill_crowd(content: dict) -> Iterator[Repair]:
    lacking = [one for one in content["annotations"] if one.get("iscrowd") not in (0, 1)]
    written = any(one.get("iscrowd") is not None for one in lacking)
    for one in lacking:
        one["iscrowd"] = int(str(one.get("iscrowd")).strip().lower() in ("1", "true"))
    if lacking:
        text = f"{len(lacking)} annotations have no iscrowd of 0 or 1; using 0"
        yield Repair(text, for_training=written)


def _fill_area(content: dict) -> Iterator[Repair]:
    numbers = (int, float)
    lacking = [
        one
        for one in content["annotations"]
        if type(one.get("area")) not in numbers or one["area"] != one["area"]  # NaN
    ]
    for one in lacking:
        one["area"] = _number_in(one.get("area"), one["bbox"][2] * one["bbox"][3])
    if lacking:
        yield Repair(f"{len(lacking)} annotations have no numeric area; using that of the box")


def _number_in(text: Any, otherwise: float) -> float:
    try:
        number = float(text)
        return otherwise if number != number else number
    except (TypeError, ValueError):
        return otherwise


def _nest_polygons(content: dict) -> Iterator[Repair]:
    """Convert flat polygons and lists of points to lists of polygons x, y, x, y, ..."""
    changed = 0
    for one in content["annotations"]:
        found = one.get("segmentation")
        if not isinstance(found, list) or not found:
            continue
        if type(found[0]) is list and len(found[0]) > 2 and type(found[0][0]) in (int, float):
            continue  # already valid
        nested = _nested(found)
        if nested is not found:
            one["segmentation"] = nested
            changed += 1
    if changed:
        yield Repair(
            f"segmentation of {changed} annotations is a flat list or a list of points; read as "
            "one polygon x, y, x, y, ..."
        )


def _nested(found: list) -> list:
    first = found[0]
    if isinstance(first, Real):
        return [found]
    if not isinstance(first, list) or not first:
        return found
    if isinstance(first[0], list):
        return [[value for point in polygon for value in point] for polygon in found]
    if len(found) > 2 and all(len(point) == 2 for point in found):
        return [[value for point in found for value in point]]
    return found


def _number(content: dict) -> Iterator[Repair]:
    """Renumber objects if ids are not unique or 0, which pycocotools treats as unmatched."""
    annotations = content["annotations"]
    reason = _wrong_ids([one.get("id") for one in annotations])
    if reason is None:
        return
    for number, one in enumerate(annotations, 1):
        one["id"] = number
    yield Repair(f"{reason}; renumbered from 1 for the metric", for_training=False)


def _wrong_ids(ids: list) -> str | None:
    if all(type(one) is int for one in ids):
        if len(set(ids)) < len(ids):
            return f"{len(ids) - len(set(ids))} annotation ids occur more than once"
        lowest = min(ids, default=1)
        return f"annotation ids start at {lowest} instead of 1" if lowest < 1 else None
    return "annotation ids are missing or are not integers"
