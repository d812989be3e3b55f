"""Checks of COCO's annotation files: what mmdet leaves out in silence, or stumbles over."""

from __future__ import annotations

import json
import os.path as osp
from collections.abc import Iterator
from typing import Any

from smallvit.datasets.sample_checks import MISLABELLED, Finding

#: Pixels that a box may stand out; published boxes are rounded.
TOLERANCE = 1.0


def check_annotations(dataset: Any) -> Iterator[Finding]:
    """Check the annotation file of a detection data set.

    Args:
        dataset (Dataset): An mmdet data set; one whose ``ann_file`` is not COCO's JSON has
            no findings.

    Yields:
        Finding: A box that is empty or outside of its image, or an annotation of an image or
        category that is not in the file; a class of the data set that is not in the file.
    """
    content = _read(getattr(dataset, "ann_file", None))
    if content is None:
        return
    folder = (getattr(dataset, "data_prefix", None) or {}).get("img", "")
    images = {image["id"]: image for image in content["images"]}
    categories = {category["id"]: category["name"] for category in content["categories"]}
    for name in dataset.metainfo.get("classes") or ():
        if name not in categories.values():
            yield Finding(MISLABELLED, dataset.ann_file, f"has no category {name!r}")
    for annotation in content["annotations"]:
        image = images.get(annotation["image_id"])
        path = dataset.ann_file if image is None else osp.join(folder, image["file_name"])
        for reason in _problems(annotation, image, categories):
            yield Finding(MISLABELLED, path, f"annotation {annotation.get('id')}: {reason}")


def _read(path: str | None) -> dict | None:
    if not path or not path.endswith(".json"):
        return None
    with open(path, encoding="utf-8") as file:
        content = json.load(file)
    keys = ("images", "annotations", "categories")
    return content if isinstance(content, dict) and all(key in content for key in keys) else None


def _problems(annotation: dict, image: dict | None, categories: dict[int, str]) -> Iterator[str]:
    if annotation["category_id"] not in categories:
        yield f"category {annotation['category_id']} is not in the file"
    if image is None:
        yield f"image {annotation['image_id']} is not in the file"
        return
    left, top, width, height = annotation["bbox"]
    if width <= 0 or height <= 0:
        yield f"the box {annotation['bbox']} is empty"
        return
    right, bottom = (image[side] + TOLERANCE for side in ("width", "height"))
    if min(left, top) < -TOLERANCE or left + width > right or top + height > bottom:
        size = f"{image['width']}x{image['height']}"
        yield f"the box {annotation['bbox']} is not inside {size} pixels"
