"""Statistics of a COCO annotation file: what a detection dataset uses, and what it drops."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smallvit.datasets.coco_objects import CHOICES, REASONS, THIN, TRAINED, Objects, read_objects
from smallvit.datasets.coco_repair import Repair
from smallvit.utils.text import name_some

#: Minimum number of boxes for corners (x1, y1, x2, y2) in all of them to be no coincidence.
MIN_CORNERS = 3

#: Reasons why the mask of an object excludes it from training.
FEW_POINTS = "polygon with fewer than three points"
NOT_A_POLYGON = "RLE mask, but poly2mask=False supports only polygons"

#: Defects of masks that the pipeline cannot load.
NO_MASK = "no segmentation"
NO_NUMBERS = "segmentation that is not a list of polygons (lists of numbers)"
NO_COUNTS = "RLE mask without counts, or with counts that do not sum to its size"
WRONG_SIZE = "RLE mask whose size differs from the image"
NORMALIZED = "polygon with normalized coordinates (0 to 1) instead of pixels"


@dataclass
class Count:
    """Number of occurrences of a finding, and its first place.

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
    """What a dataset uses from an annotation file.

    Args:
        path (str): Path of the annotation file.
        images (int): Images in it.
        objects (int): Annotations in it.
        trained (dict[str, int]): Objects of each class that are trained or measured.
        with_objects (int): Images that have one.
        left_out (dict[str, Count]): Objects that are not, by reason.
        masks (dict[str, Count]): Objects that are, but whose masks cannot be loaded.
        repaired (list[Repair]): What was mended in memory.
        faults (list[str]): What makes the file wrong as a whole, each with the way out.
        warnings (list[str]): What may be wrong.
        files (frozenset[str]): Names of its images.
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
        """int: Objects that are dropped unintentionally."""
        return sum(one.number for why, one in self.left_out.items() if why not in CHOICES)

    def note(
        self, counts: dict[str, Count], reason: str, annotation: dict, image: Any, number: int = 1
    ) -> None:
        """Count objects.

        Args:
            counts (dict[str, Count]): ``left_out`` or ``masks``.
            reason (str): Reason for which they are counted.
            annotation (dict): Annotation of the first object.
            image (dict, optional): Entry of ``images`` that the annotation refers to.
            number (int): How many. Defaults to 1.
        """
        count = counts.setdefault(reason, Count())
        count.number += number
        if not count.where:
            name = image["file_name"] if image is not None else f"image {annotation['image_id']}"
            count.where = f"annotation {annotation.get('id')} of {name}"


def summarize(
    content: dict, path: str, classes: Sequence[str], masks: MaskSettings, repaired: list[Repair]
) -> CocoSummary:
    """Index an annotation file as mmdet's ``CocoDataset`` does.

    Args:
        content (dict): The JSON, repaired.
        path (str): Path of the annotation file, for messages.
        classes (Sequence[str]): Classes of the dataset.
        masks (MaskSettings): How its pipeline reads masks.
        repaired (list[Repair]): What was mended.

    Returns:
        CocoSummary: What is trained, left out and wrong.
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
    """Count masks that cannot be loaded, and return those whose objects are dropped."""
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
    """Whether a mask is likely a single polygon in pixels, the common case; others are checked."""
    if type(segmentation) is not list or len(segmentation) != 1:
        return False
    (polygon,) = segmentation
    if type(polygon) is not list or len(polygon) < 6 or len(polygon) % 2:
        return False
    return type(polygon[0]) in (int, float) and polygon[0] > 1 and type(polygon[-1]) in (int, float)


def mask_fault(annotation: dict, image: dict, masks: MaskSettings) -> str | None:
    """Describe what is wrong with an object's mask.

    Args:
        annotation (dict): Annotation of the object.
        image (dict): Entry of ``images`` that it refers to, with ``height`` and ``width``.
        masks (MaskSettings): How the pipeline reads masks.

    Returns:
        str | None: The fault; None where there is none.
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
    """Find ids and names that are used twice.

    Args:
        content (dict): The JSON.
        path (str): Path of the annotation file, for messages.

    Yields:
        str: A sentence with the way out.
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
    """Find classes of a dataset that are missing in its annotation file.

    Their labels, and those of all classes after them, would be another's.

    Args:
        classes (Sequence[str]): Class names of the dataset, ``metainfo.classes``.
        names (Sequence[str]): Names of the file's categories.
        path (str): Path of the annotation file, for messages.

    Yields:
        str: A sentence with the way out.
    """
    if isinstance(classes, str):
        return  # said for every kind of dataset
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
        f"contains.{hint} Categories of the file: {name_some(names)}; classes: "
        f"{name_some(classes)}. Set metainfo=dict(classes=(...)) of the dataset to categories "
        "of the file"
    )


def shape_faults(content: dict, objects: Objects, summary: CocoSummary) -> Iterator[str]:
    """Find boxes and category ids that follow another convention.

    Args:
        content (dict): Content of the annotation file.
        objects (Objects): Boxes and category ids of its annotations.
        summary (CocoSummary): What was counted.

    Yields:
        str: A sentence with the way out.
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
        # Among a few valid boxes one may be wider than its x; among many, never all.
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
                f"{name_some(sorted(used))}, those of the {table} {name_some(sorted(ids))}. All "
                f"are one too {'small' if shift > 0 else 'large'}, which assigns each object to "
                f"{end}. Use the same numbering"
            )
            return


def _others(names: Sequence) -> str:
    return f" (nor {', '.join(map(str, names[1:4]))})" if len(names) > 1 else ""
