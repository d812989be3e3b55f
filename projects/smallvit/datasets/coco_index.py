"""What a detection data set takes from COCO's annotation file, and what it leaves out and why."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from smallvit.datasets.coco_repair import Repair
from smallvit.utils.text import name_some

#: Pixels that a box may stand out of its image; published boxes are rounded.
TOLERANCE = 1.0
#: Boxes above which all of them being corners, x1, y1, x2, y2, is no chance.
MIN_CORNERS = 3

#: Why an object is not trained.
IGNORED = "marked 'ignore'"
OUTSIDE = "box outside of the image"
NO_AREA = "area of 0"
THIN = "box less than a pixel wide or high"
OTHER_CLASS = "of a category that the classes do not name"
UNKNOWN_CATEGORY = "of a category that is not in the file"
UNKNOWN_IMAGE = "of an image that is not in the file"
CROWD = "marked iscrowd"
FEW_POINTS = "polygon of less than three points"
NOT_A_POLYGON = "RLE mask, while poly2mask=False reads polygons alone"
#: The reasons that are a choice, not a fault of the file.
CHOICES = (IGNORED, OTHER_CLASS, CROWD)

#: What is wrong with a mask that the pipeline cannot load.
NO_MASK = "no segmentation"
WRONG_SIZE = "RLE mask of another size than the image"
NORMALIZED = "polygon in parts of the image (0 to 1), not in pixels"


@dataclass
class Count:
    """How often something was found, and where first.

    Args:
        number (int): How often.
        where (str): The first place.
    """

    number: int = 0
    where: str = ""


@dataclass
class MaskSettings:
    """How a pipeline reads masks.

    Args:
        wanted (bool): Whether it reads them. Defaults to False.
        polygons_only (bool): Whether RLE masks are left out (``poly2mask=False``). Defaults to
            False.
    """

    wanted: bool = False
    polygons_only: bool = False


@dataclass
class CocoSummary:
    """What a data set takes from an annotation file.

    Args:
        path (str): The file.
        images (int): Images in it.
        objects (int): Annotations in it.
        trained (dict[str, int]): Objects of each class that are trained or measured.
        with_objects (int): Images that have one.
        left_out (dict[str, Count]): Objects that are not, by reason.
        masks (dict[str, Count]): Objects that are, but whose masks cannot be loaded.
        repaired (list[Repair]): What was mended in memory.
        faults (list[str]): What makes the file wrong as a whole, each with the way out.
        warnings (list[str]): What may be wrong.
    """

    path: str
    images: int = 0
    objects: int = 0
    trained: dict[str, int] = field(default_factory=dict)
    with_objects: int = 0
    left_out: dict[str, Count] = field(default_factory=dict)
    masks: dict[str, Count] = field(default_factory=dict)
    repaired: list[Repair] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def by_fault(self) -> int:
        """int: Objects that are left out although nobody chose so."""
        return sum(one.number for why, one in self.left_out.items() if why not in CHOICES)

    def note(self, counts: dict[str, Count], reason: str, annotation: dict, image: Any) -> None:
        """Count an object.

        Args:
            counts (dict[str, Count]): ``left_out`` or ``masks``.
            reason (str): Why.
            annotation (dict): The object.
            image (dict, optional): Its image.
        """
        count = counts.setdefault(reason, Count())
        count.number += 1
        if count.number == 1:
            name = image["file_name"] if image is not None else f"image {annotation['image_id']}"
            count.where = f"annotation {annotation.get('id')} of {name}"


def summarize(
    content: dict, path: str, classes: Sequence[str], masks: MaskSettings, repaired: list[Repair]
) -> CocoSummary:
    """Read through an annotation file as mmdet's ``CocoDataset`` does.

    Args:
        content (dict): The JSON, repaired.
        path (str): The file.
        classes (Sequence[str]): Classes of the data set.
        masks (MaskSettings): How its pipeline reads masks.
        repaired (list[Repair]): What was mended.

    Returns:
        CocoSummary: What is trained, left out and wrong.
    """
    summary = CocoSummary(path, len(content["images"]), len(content["annotations"]))
    summary.repaired = list(repaired)
    summary.faults += file_faults(content, path)
    summary.faults += class_faults(classes, [one["name"] for one in content["categories"]], path)
    images = {image["id"]: image for image in content["images"]}
    names = {one["id"]: one["name"] for one in content["categories"]}
    labels = {number: name for number, name in names.items() if name in classes}
    counts: Counter = Counter()
    filled = set()
    for annotation in content["annotations"]:
        image = images.get(annotation["image_id"])
        reason = left_out(annotation, image, names, labels)
        mask = reason is None and masks.wanted and mask_fault(annotation, image, masks)
        if mask in (FEW_POINTS, NOT_A_POLYGON):
            reason = mask
        elif mask:
            summary.note(summary.masks, mask, annotation, image)
        if reason is not None:
            summary.note(summary.left_out, reason, annotation, image)
            continue
        counts[labels[annotation["category_id"]]] += 1
        filled.add(annotation["image_id"])
    summary.trained = {name: counts[name] for name in classes}
    summary.with_objects = len(filled)
    summary.faults += shape_faults(content, images, names, summary)
    return summary


def left_out(annotation: dict, image: Any, names: dict, labels: dict) -> str | None:
    """Tell why mmdet does not train an object.

    Args:
        annotation (dict): The object.
        image (dict, optional): Its image.
        names (dict): Names of the file's categories by id.
        labels (dict): Those that are classes of the data set.

    Returns:
        str | None: The reason; None where it is trained.
    """
    if image is None:
        return UNKNOWN_IMAGE
    if annotation.get("ignore"):
        return IGNORED
    left, top, width, height = annotation["bbox"]
    wide = min(left + width, image["width"]) - max(left, 0)
    high = min(top + height, image["height"]) - max(top, 0)
    # In a file of boxes in 0..1 none is outside, and none is a pixel wide.
    if width < 1 or height < 1:
        return THIN
    if wide <= 0 or high <= 0:
        return OUTSIDE
    if annotation["area"] <= 0:
        return NO_AREA
    if annotation["category_id"] not in labels:
        return OTHER_CLASS if annotation["category_id"] in names else UNKNOWN_CATEGORY
    return CROWD if annotation["iscrowd"] else None


def mask_fault(annotation: dict, image: dict, masks: MaskSettings) -> str | None:
    """Tell what is wrong with an object's mask.

    Args:
        annotation (dict): The object.
        image (dict): Its image.
        masks (MaskSettings): How the pipeline reads masks.

    Returns:
        str | None: The fault; None where there is none.
    """
    found = annotation.get("segmentation")
    if not found:
        return NO_MASK
    if isinstance(found, list):
        polygons = [one for one in found if len(one) % 2 == 0 and len(one) >= 6]
        if not polygons:
            return FEW_POINTS
        parts = polygons[0][0] <= 1 and annotation["bbox"][2] > 2
        return NORMALIZED if parts and all(max(one) <= 1 for one in polygons) else None
    if masks.polygons_only:
        return NOT_A_POLYGON
    size = list(found.get("size") or ())
    return None if size == [image["height"], image["width"]] else WRONG_SIZE


def file_faults(content: dict, path: str) -> Iterator[str]:
    """Find ids and names that stand for two things.

    Args:
        content (dict): The JSON.
        path (str): The file.

    Yields:
        str: A sentence with the way out.
    """
    images: dict = {}
    for image in content["images"]:
        twin = images.setdefault(image["id"], image)
        if twin is not image:
            yield (
                f"{path}: {twin['file_name']} and {image['file_name']} share the image id "
                f"{image['id']!r}, and so their boxes: give each image an id of its own"
            )
            break
    for key in ("id", "name"):
        values = Counter(one[key] for one in content["categories"])
        twice = [value for value, number in values.items() if number > 1]
        if twice:
            yield f"{path}: two categories have the {key} {twice[0]!r}: merge them, or rename one"


def class_faults(classes: Any, names: Sequence[str], path: str) -> Iterator[str]:
    """Find classes of a data set that its annotation file does not have.

    Their labels, and those of all classes after them, would be another's.

    Args:
        classes (Sequence[str]): The classes.
        names (Sequence[str]): Names of the file's categories.
        path (str): The file.

    Yields:
        str: A sentence with the way out.
    """
    if isinstance(classes, str):
        return  # said for every kind of data set
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if list(classes).count(name) > 1)
        yield f"metainfo.classes has {twice!r} twice: name each class once"
    absent = [name for name in classes if name not in names]
    if not absent:
        return
    near = difflib.get_close_matches(absent[0], names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    yield (
        f"{path} has no category {absent[0]!r}, which metainfo.classes names"
        f"{_others(absent)}.{hint} The file's categories: {name_some(names)}; the classes: "
        f"{name_some(classes)}. Set metainfo=dict(classes=(...)) of the data set to names of it"
    )


def shape_faults(content: dict, images: dict, names: dict, summary: CocoSummary) -> Iterator[str]:
    """Find boxes and category ids that were written after another convention.

    Args:
        content (dict): The JSON.
        images (dict): Images by id.
        names (dict): Names of the categories by id.
        summary (CocoSummary): What was counted.

    Yields:
        str: A sentence with the way out.
    """
    annotations = [one for one in content["annotations"] if one["image_id"] in images]
    thin = summary.left_out.get(THIN, Count()).number
    if thin and all(max(one["bbox"]) <= 1 for one in annotations):
        yield (
            f"{summary.path}: all boxes lie within 0 and 1, as parts of the image: COCO's are x, "
            "y, width, height in pixels; multiply them by the image's width and height"
        )
    out = [one for one in annotations if stands_out(one["bbox"], images[one["image_id"]])]
    if out:
        summary.warnings.append(
            f"{len(out)} boxes stand out of their images, such as {out[0]['bbox']} of annotation "
            f"{out[0]['id']}"
        )
    # Of a few true boxes one is wider than its distance to the left; of many, never all.
    if (
        out
        and len(annotations) > MIN_CORNERS
        and all(_fits_as_corners(one["bbox"], images[one["image_id"]]) for one in annotations)
    ):
        yield (
            f"{summary.path}: {len(out)} of {len(annotations)} boxes are not inside of their "
            f"images, such as {out[0]['bbox']} of annotation {out[0]['id']}, and all would be as "
            "x1, y1, x2, y2: COCO's are x, y, width, height; subtract the first two from the others"
        )
    used = {one["category_id"] for one in annotations}
    unknown = used - set(names)
    for shift in (1, -1) if unknown and all(isinstance(one, int) for one in used) else ():
        if {one + shift for one in used} <= set(names):
            yield (
                f"{summary.path}: the annotations' category ids are {name_some(sorted(used))}, "
                f"those of the categories {name_some(sorted(names))}: all are one too "
                f"{'small' if shift > 0 else 'large'}, and each object would get another class; "
                "number them alike"
            )
            return


def stands_out(box: Sequence[float], image: dict) -> bool:
    """Tell whether a box is not inside its image.

    Args:
        box (Sequence[float]): x, y, width, height.
        image (dict): The image.

    Returns:
        bool: True if it stands out by more than the tolerance.
    """
    left, top, width, height = box
    right, bottom = image["width"] + TOLERANCE, image["height"] + TOLERANCE
    return min(left, top) < -TOLERANCE or left + width > right or top + height > bottom


def _fits_as_corners(box: Sequence[float], image: dict) -> bool:
    left, top, right, bottom = box
    size = image["width"] + TOLERANCE, image["height"] + TOLERANCE
    return left < right <= size[0] and top < bottom <= size[1]


def _others(names: Sequence) -> str:
    return f" (nor {', '.join(map(str, names[1:4]))})" if len(names) > 1 else ""
