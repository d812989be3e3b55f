"""Checks for COCO annotations that MMDetection silently drops or fails to load."""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterator
from typing import Any

from smallvit.datasets.checks import read_json
from smallvit.datasets.coco_index import CocoSummary, MaskSettings, mask_fault, summarize
from smallvit.datasets.coco_objects import (
    CHOICES,
    CROWD,
    REASONS,
    UNKNOWN_CATEGORY,
    UNKNOWN_IMAGE,
    read_objects,
)
from smallvit.datasets.coco_repair import repair
from smallvit.datasets.sample_checks import MISLABELED, Finding
from smallvit.errors import DataError


def reads_coco(dataset: Any) -> bool:
    """Check whether a dataset loads annotations like MMDetection's ``CocoDataset``.

    Args:
        dataset (Dataset): Dataset of any MM library.

    Returns:
        bool: False if the dataset uses another file format or its own annotation loader.
    """
    kind = type(dataset)
    stock = next((one for one in kind.__mro__ if one.__module__ == "mmdet.datasets.coco"), None)
    return (
        stock is not None
        and kind.load_data_list is stock.load_data_list
        and kind.parse_data_info is stock.parse_data_info
    )


def mask_settings(dataset: Any) -> MaskSettings:
    """Get the mask settings of a dataset's pipeline.

    Args:
        dataset (Dataset): Dataset with a ``pipeline`` attribute.

    Returns:
        MaskSettings: Whether and how the pipeline loads masks.
    """
    transforms = getattr(getattr(dataset, "pipeline", None), "transforms", ())
    loader = next((one for one in transforms if getattr(one, "with_mask", False)), None)
    return MaskSettings(loader is not None, not getattr(loader, "poly2mask", True))


def summary_of(dataset: Any) -> CocoSummary | None:
    """Summarize the annotations used by a detection dataset.

    Args:
        dataset (Dataset): Dataset of any MM library.

    Returns:
        CocoSummary | None: Summary of the annotation file, or None if it is not in COCO format.
    """
    if not reads_coco(dataset):
        return None
    return getattr(dataset, "summary", None) or _examine(dataset)[0]


def _examine(dataset: Any) -> tuple[CocoSummary, dict]:
    content = read_json(dataset.ann_file)
    repaired = repair(content, dataset.ann_file)
    classes = dataset.metainfo.get("classes") or ()
    summary = summarize(content, dataset.ann_file, classes, mask_settings(dataset), repaired)
    if not hasattr(dataset, "summary"):
        summary.faults += _read_otherwise(dataset, summary, content)
    return summary, content


def _read_otherwise(dataset: Any, summary: CocoSummary, content: dict) -> Iterator[str]:
    """Find faults of a file that is read by MMDetection's ``CocoDataset`` without repair."""
    for one in summary.repaired:
        if one.for_training:
            yield (
                f"{summary.path}: {one.text} in smallvit, but not in MMDetection's CocoDataset. "
                "Correct the file"
            )
    names = {one["id"]: one["name"] for one in content["categories"]}
    classes = dataset.metainfo.get("classes") or ()
    taken = [names.get(one) for one in getattr(dataset, "cat_ids", ())]
    if not summary.faults and taken != list(classes):
        yield (
            f"{summary.path}: metainfo.classes is {', '.join(classes)}, but MMDetection's "
            f"CocoDataset assigns labels in the order of the file, {', '.join(map(str, taken))}. "
            "List the classes in the order of the file"
        )


def check_summary(summary: CocoSummary, training: bool) -> Iterator[str]:
    """Find defects that make an annotation file unusable for a run.

    Args:
        summary (CocoSummary): Summary of the annotation file.
        training (bool): Whether the dataset is used for training, not evaluation.

    Yields:
        str: Description of a defect and how to fix it.
    """
    yield from summary.faults
    for fault, count in summary.masks.items():
        yield (
            f"{summary.path}: {count.number} of {sum(summary.trained.values())} objects: {fault} "
            f"({count.where}), but the pipeline reads masks (LoadAnnotations, with_mask=True). "
            "Correct or remove them, or train a detector without masks"
        )
    if training and not summary.faults and not any(summary.trained.values()):
        yield (
            f"{summary.path}: no training data, none of {summary.objects} annotated objects in "
            f"{summary.images} images is valid{left_out_text(summary)}"
        )


def left_out_text(summary: CocoSummary) -> str:
    """Format the counts of ignored objects.

    Args:
        summary (CocoSummary): Summary of the annotation file.

    Returns:
        str: Text such as ": 3 area of 0 (...), 2 ...", or an empty string if no object is ignored.
    """
    counts = sorted(summary.left_out.items(), key=lambda item: -item[1].number)
    parts = [f"{count.number} {reason} ({count.where})" for reason, count in counts]
    return f": {', '.join(parts)}" if parts else ""


def check_annotations(dataset: Any) -> Iterator[Finding]:
    """Check the annotation file of a detection dataset.

    Args:
        dataset (Dataset): MMDetection dataset. Annotation files not in COCO format are skipped.

    Yields:
        Finding: Defect of the whole file, or annotation that is ignored or misread in training.
    """
    if not reads_coco(dataset):
        return
    path = dataset.ann_file
    try:
        summary, content = _examine(dataset)
    except (DataError, ValueError) as error:
        yield Finding(MISLABELED, path, _without(path, str(error)))
        return
    summary.masks = {}  # reported individually below
    for sentence in [*map(str, summary.repaired), *check_summary(summary, training=True)]:
        yield Finding(MISLABELED, path, _without(path, sentence))
    folder = (getattr(dataset, "data_prefix", None) or {}).get("img", "")
    names = [category["name"] for category in content["categories"]]
    objects = read_objects(content, names)
    stand_out = objects.stand_out
    masks = mask_settings(dataset)
    for number, annotation in enumerate(content["annotations"]):
        place, reason = objects.images[number], (*REASONS, None)[objects.reasons[number]]
        image = content["images"][place] if place >= 0 else None
        where = path if image is None else osp.join(folder, image["file_name"])
        for text in _problems(annotation, image, reason, stand_out[number], masks):
            yield Finding(MISLABELED, where, f"annotation {annotation['id']}: {text}")


def _without(path: str, sentence: str) -> str:
    """Remove the file name from a message."""
    rest = sentence.removeprefix("annotation file ").removeprefix(path)
    return rest.removeprefix(":").strip()


def _problems(
    annotation: dict, image: dict | None, reason: str | None, out: bool, masks: MaskSettings
) -> Iterator[str]:
    if reason == UNKNOWN_IMAGE:
        yield f"image {annotation['image_id']} is not in the file"
    elif reason == UNKNOWN_CATEGORY:
        yield f"category {annotation['category_id']} is not in the file"
    elif out:
        size = f"{image['width']}x{image['height']}"
        yield f"box {annotation['bbox']} extends beyond the image of {size} pixels"
    elif reason is not None and reason not in CHOICES:
        yield f"not trained: {reason} (bbox {annotation['bbox']}, area {annotation['area']})"
    elif masks.wanted and reason != CROWD:
        fault = mask_fault(annotation, image, masks)
        if fault is not None:
            yield f"its mask: {fault}"
