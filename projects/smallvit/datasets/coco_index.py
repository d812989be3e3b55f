"""Statistics of COCO annotation files: objects used and ignored by a detection dataset."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smallvit.datasets.coco_objects import CHOICES, REASONS, THIN, TRAINED, Objects, read_objects
from smallvit.datasets.coco_repair import Repair
from smallvit.utils.text import join_names

#: Minimum number of boxes required to detect boxes in (x1, y1, x2, y2) format.
MIN_CORNERS = 3

#: Mask defects that exclude an object from training.
FEW_POINTS = "polygon with fewer than three points"
NOT_A_POLYGON = "RLE mask, but poly2mask=False supports only polygons"

#: Mask defects that make the pipeline fail.
NO_MASK = "no segmentation"
NO_NUMBERS = "segmentation that is not a list of polygons (lists of numbers)"
NO_COUNTS = "RLE mask without counts, or with counts that do not sum to its size"
WRONG_SIZE = "RLE mask whose size differs from the image"
NORMALIZED = "polygon with normalized coordinates (0 to 1) instead of pixels"


@dataclass
class Count:
    """Number of occurrences of a finding and location of the first one.

    Args:
        number (int): Number of occurrences.
        where (str): Location of the first occurrence.
    """

    number: int = 0
    where: str = ""


@dataclass
class MaskSettings:
    """Mask settings of a pipeline.

    Args:
        wanted (bool): Whether the pipeline loads masks. Defaults to False.
        polygons_only (bool): Whether RLE masks are ignored (``poly2mask=False``). Defaults to
            False.
    """

    wanted: bool = False
    polygons_only: bool = False


@dataclass
class CocoSummary:
    """Summary of the annotations used and ignored by a dataset.

    Args:
        path (str): Path of the annotation file.
        images (int): Number of images in the file.
        objects (int): Number of annotations in the file.
        trained (dict[str, int]): Number of objects per class used in training or evaluation.
        with_objects (int): Number of images with at least one used object.
        left_out (dict[str, Count]): Ignored objects by reason.
        masks (dict[str, Count]): Used objects with masks that cannot be loaded, by reason.
        repaired (list[Repair]): Repairs made in memory.
        faults (list[str]): Defects of the whole file, each with a fix.
        warnings (list[str]): Possible defects.
        files (frozenset[str]): Image file names.
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
    files: frozenset[str] = frozenset()

    @property
    def by_fault(self) -> int:
        """int: Number of objects ignored because of a defect."""
        return sum(one.number for why, one in self.left_out.items() if why not in CHOICES)

    def note(
        self, counts: dict[str, Count], reason: str, annotation: dict, image: Any, number: int = 1
    ) -> None:
        """Count objects.

        Args:
            counts (dict[str, Count]): ``left_out`` or ``masks``.
            reason (str): Key under which the objects are counted.
            annotation (dict): Annotation of the first object.
            image (dict, optional): Entry of ``images`` that the annotation refers to.
            number (int): Number of objects. Defaults to 1.
        """
        count = counts.setdefault(reason, Count())
        count.number += number
        if not count.where:
            name = image["file_name"] if image is not None else f"image {annotation['image_id']}"
            count.where = f"annotation {annotation.get('id')} of {name}"


def summarize(
    content: dict, path: str, classes: Sequence[str], masks: MaskSettings, repaired: list[Repair]
) -> CocoSummary:
    """Summarize an annotation file as loaded by MMDetection's ``CocoDataset``.

    Args:
        content (dict): Repaired content of the annotation file.
        path (str): Path of the annotation file, for messages.
        classes (Sequence[str]): Class names of the dataset.
        masks (MaskSettings): Mask settings of the pipeline.
        repaired (list[Repair]): Repairs made to ``content``.

    Returns:
        CocoSummary: Used objects, ignored objects and defects.
    """
    summary = CocoSummary(path, len(content["images"]), len(content["annotations"]))
    summary.repaired = list(repaired)
    summary.files = frozenset(str(image["file_name"]) for image in content["images"])
    summary.faults += file_faults(content, path)
    summary.faults += class_faults(classes, [one["name"] for one in content["categories"]], path)
    objects = read_objects(content, classes)
    kept = objects.reasons == TRAINED
    _count_left_out(summary, content, objects)
    if masks.wanted:
        kept &= ~_count_masks(summary, content, objects, masks)
    names = [one["name"] for one in content["categories"]]
    numbers = np.bincount(objects.categories[kept], minlength=len(names))
    counts: Counter = Counter()
    for name, number in zip(names, numbers.tolist(), strict=True):
        counts[name] += number
    summary.trained = {name: counts[name] for name in classes}
    summary.with_objects = len(np.unique(objects.images[kept]))
    summary.faults += shape_faults(content, objects, summary)
    return summary


def _image(content: dict, place: int) -> dict | None:
    return content["images"][place] if place >= 0 else None


def _count_left_out(summary: CocoSummary, content: dict, objects: Objects) -> None:
    for place, number in enumerate(np.bincount(objects.reasons, minlength=TRAINED)[:TRAINED]):
        if number:
            first = int((objects.reasons == place).argmax())
            image = _image(content, objects.images[first])
            annotation = content["annotations"][first]
            summary.note(summary.left_out, REASONS[place], annotation, image, int(number))


def _count_masks(
    summary: CocoSummary, content: dict, objects: Objects, masks: MaskSettings
) -> np.ndarray:
    """Count masks that cannot be loaded, and return those that exclude their objects."""
    left_out = np.zeros(len(objects.reasons), bool)
    annotations = content["annotations"]
    for number in np.flatnonzero(objects.reasons == TRAINED).tolist():
        annotation = annotations[number]
        if _is_plain(annotation.get("segmentation")):
            continue
        image = content["images"][objects.images[number]]
        fault = mask_fault(annotation, image, masks)
        if fault in (FEW_POINTS, NOT_A_POLYGON):
            left_out[number] = True
            summary.note(summary.left_out, fault, annotation, image)
        elif fault:
            summary.note(summary.masks, fault, annotation, image)
    return left_out


def _is_plain(segmentation: Any) -> bool:
    """Check quickly whether a mask is a single polygon in pixels, which needs no other checks."""
    if type(segmentation) is not list or len(segmentation) != 1:
        return False
    (polygon,) = segmentation
    if type(polygon) is not list or len(polygon) < 6 or len(polygon) % 2:
        return False
    return type(polygon[0]) in (int, float) and polygon[0] > 1 and type(polygon[-1]) in (int, float)


def mask_fault(annotation: dict, image: dict, masks: MaskSettings) -> str | None:
    """Describe the defect of an object mask.

    Args:
        annotation (dict): Annotation of the object.
        image (dict): Entry of ``images`` for the object, with ``height`` and ``width``.
        masks (MaskSettings): Mask settings of the pipeline.

    Returns:
        str | None: Description of the defect, or None if the mask is valid.
    """
    found = annotation.get("segmentation")
    if not found:
        return NO_MASK
    if isinstance(found, list):
        if not all(map(_has_numbers, found)):
            return NO_NUMBERS
        polygons = [one for one in found if len(one) % 2 == 0 and len(one) >= 6]
        if not polygons:
            return FEW_POINTS
        parts = polygons[0][0] <= 1 and annotation["bbox"][2] > 2
        return NORMALIZED if parts and all(max(one) <= 1 for one in polygons) else None
    if not isinstance(found, dict):
        return NO_NUMBERS
    if masks.polygons_only:
        return NOT_A_POLYGON
    if list(found.get("size") or ()) != [image["height"], image["width"]]:
        return WRONG_SIZE
    return None if _has_counts(found, image) else NO_COUNTS


def _has_numbers(values: Any) -> bool:
    return isinstance(values, list) and set(map(type, values)) <= {int, float}


def _has_counts(mask: dict, image: dict) -> bool:
    counts = mask.get("counts")
    if isinstance(counts, list):
        return _has_numbers(counts) and sum(counts) == image["height"] * image["width"]
    return isinstance(counts, (str, bytes)) and len(counts) > 0


def file_faults(content: dict, path: str) -> Iterator[str]:
    """Find duplicate ids and names.

    Args:
        content (dict): Content of the annotation file.
        path (str): Path of the annotation file, for messages.

    Yields:
        str: Description of a defect and how to fix it.
    """
    images: dict = {}
    for image in content["images"]:
        twin = images.setdefault(image["id"], image)
        if twin is not image:
            yield (
                f"{path}: {twin['file_name']} and {image['file_name']} have the same image id "
                f"{image['id']!r}, and therefore the same boxes. Assign unique image ids"
            )
            break
    for key in ("id", "name"):
        values = Counter(one[key] for one in content["categories"])
        twice = [value for value, number in values.items() if number > 1]
        if twice:
            yield f"{path}: two categories have the {key} {twice[0]!r}. Merge them, or rename one"


def class_faults(classes: Any, names: Sequence[str], path: str) -> Iterator[str]:
    """Find classes of a dataset that are missing from its annotation file.

    A missing class would shift the labels of all classes after it.

    Args:
        classes (Sequence[str]): Class names of the dataset, ``metainfo.classes``.
        names (Sequence[str]): Category names in the annotation file.
        path (str): Path of the annotation file, for messages.

    Yields:
        str: Description of a defect and how to fix it.
    """
    if isinstance(classes, str):
        return  # reported by a check common to all datasets
    if len(set(classes)) < len(classes):
        twice = next(name for name in classes if list(classes).count(name) > 1)
        yield f"metainfo.classes contains {twice!r} twice. List each class once"
    absent = [name for name in classes if name not in names]
    if not absent:
        return
    near = difflib.get_close_matches(str(absent[0]), names, n=1, cutoff=0.5)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    yield (
        f"{path} has no category {absent[0]!r}{_others(absent)}, which metainfo.classes "
        f"contains.{hint} Categories of the file: {join_names(names)}; classes: "
        f"{join_names(classes)}. Set metainfo=dict(classes=(...)) of the dataset to categories "
        "of the file"
    )


def shape_faults(content: dict, objects: Objects, summary: CocoSummary) -> Iterator[str]:
    """Find boxes and category ids that do not follow the COCO convention.

    Args:
        content (dict): Content of the annotation file.
        objects (Objects): Boxes and category ids of the annotations.
        summary (CocoSummary): Summary of the annotation file.

    Yields:
        str: Description of a defect and how to fix it.
    """
    known = objects.images >= 0
    count = int(known.sum())
    if THIN in summary.left_out and objects.boxes[known].max() <= 1:
        yield (
            f"{summary.path}: all boxes are between 0 and 1, but COCO requires x, y, width, height "
            "in pixels. Multiply them by the width and height of the image"
        )
    out = np.flatnonzero(objects.stand_out)
    if len(out):
        one = content["annotations"][out[0]]
        example = f"e.g. {one['bbox']} of annotation {one['id']}"
        summary.warnings.append(f"{len(out)} boxes extend beyond their images, {example}")
        # All of a few valid boxes may be wider than their x, but not all of many boxes.
        if count > MIN_CORNERS and objects.fit_as_corners[known].all():
            yield (
                f"{summary.path}: {len(out)} of {count} boxes extend beyond their images, "
                f"{example}, but none would as x1, y1, x2, y2. COCO requires x, y, width, height: "
                "subtract the first two values from the others"
            )
    if len(summary.files) < summary.images:
        files = Counter(image["file_name"] for image in content["images"])
        name, number = files.most_common(1)[0]
        summary.warnings.append(
            f"{number} images have the file_name {name} and separate objects. List it once with "
            "all objects"
        )
    if (objects.images < 0).any():
        yield from _shifted_ids(content, summary, "image_id", "images", "another image")
    elif (objects.categories < 0).any():
        yield from _shifted_ids(content, summary, "category_id", "categories", "another class")


def _shifted_ids(
    content: dict, summary: CocoSummary, key: str, table: str, end: str
) -> Iterator[str]:
    ids = {one["id"] for one in content[table]}
    used = {one[key] for one in content["annotations"]}
    for shift in (1, -1) if all(isinstance(one, int) for one in used) else ():
        if {one + shift for one in used} <= ids:
            yield (
                f"{summary.path}: the {key.replace('_', ' ')}s of the annotations are "
                f"{join_names(sorted(used))}, those of the {table} {join_names(sorted(ids))}. All "
                f"are one too {'small' if shift > 0 else 'large'}, which assigns each object to "
                f"{end}. Use the same numbering"
            )
            return


def _others(names: Sequence) -> str:
    return f" (nor {', '.join(map(str, names[1:4]))})" if len(names) > 1 else ""
