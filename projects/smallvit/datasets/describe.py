"""Inspection of the datasets of a run before its first step."""

from __future__ import annotations

import os.path as osp
import time
from typing import Any

from mmcv.transforms import LoadImageFromFile

from smallvit.datasets.coco_checks import check_summary, left_out_text, summary_of
from smallvit.datasets.image_checks import look_at_images
from smallvit.datasets.io.left_out import LeftOut, files_left_out, unlisted_images
from smallvit.datasets.label_map_checks import look_at_maps, reads_label_maps
from smallvit.datasets.labels import count_labels, label_fault, read_labels
from smallvit.datasets.parts import parts_of, transform_of
from smallvit.datasets.usage import Usage
from smallvit.errors import DataError, LabelError

#: Time limit for checking the files of a dataset, in seconds.
SECONDS = 0.5


def describe(dataset: Any, split: str, num_classes: int | None = None) -> list[Usage]:
    """Summarize the data that a run uses from a dataset.

    Args:
        dataset (Dataset): Dataset of any MM library, possibly a wrapper.
        split (str): ``train``, ``val`` or ``test``.
        num_classes (int, optional): Number of classes of the classification head. Defaults to
            None.

    Returns:
        list[Usage]: One summary for each dataset inside the wrapper.
    """
    found = []
    for part in parts_of(dataset):
        where = _place(part)
        name = f"{type(part).__name__}{f' {where}' if where else ''}"
        usage = Usage(split, name, len(part))
        _classes(part, usage)
        _objects(part, usage)
        _label_maps(part, usage)
        _labels(part, usage, num_classes)
        _files(part, usage)
        _images(part, usage)
        found.append(usage)
    return found


def _place(part: Any) -> str:
    for name in ("ann_file", "img_prefix"):
        value = getattr(part, name, None)
        if isinstance(value, str) and value:
            return value
    prefix = getattr(part, "data_prefix", None) or {}
    places = [value for value in prefix.values() if value] if hasattr(prefix, "values") else []
    return str(next(iter(places), getattr(part, "data_root", "") or ""))


def _classes(part: Any, usage: Usage) -> None:
    classes = (getattr(part, "metainfo", None) or {}).get("classes")
    if isinstance(classes, str):
        text = f"classes={classes!r} is a string, of which each letter would be a class"
        usage.faults.append(
            DataError(f"{usage.name}: {text}. Write classes=({classes!r},), with a comma")
        )
    elif classes is not None:
        usage.classes = tuple(classes)


def _objects(part: Any, usage: Usage) -> None:
    summary = summary_of(part)
    if summary is None:
        return
    usage.counts, usage.objects = summary.trained, sum(summary.trained.values())
    usage.with_objects = summary.with_objects
    usage.faults += map(DataError, check_summary(summary, usage.training))
    usage.warnings += [f"{summary.path}: {repair}" for repair in summary.repaired]
    usage.warnings += [f"{summary.path}: {text}" for text in summary.warnings]
    skipped = sum(count.number for count in summary.left_out.values())
    text = f"skipped {skipped} of {summary.objects} objects{left_out_text(summary)}"
    if summary.by_fault:
        usage.warnings.append(f"{summary.path}: {text}")
    elif summary.left_out:
        usage.notes.append(text)
    if summary.images > usage.samples:
        rest = summary.images - usage.samples
        usage.notes.append(f"{rest} of {summary.images} images are skipped (filter_cfg, indices)")
    folder = (part.data_prefix or {}).get("img") or ""
    unlisted = unlisted_images(folder, summary.files, SECONDS)
    if unlisted.counts:  # several files may share a folder
        more = "" if unlisted.complete else ", and more"
        usage.notes.append(f"in {folder}: {unlisted.text()}{more}")


def _label_maps(part: Any, usage: Usage) -> None:
    if not reads_label_maps(part):
        return
    seen = look_at_maps(part)
    if seen is None:
        return
    usage.unit = "label maps"
    usage.faults += map(DataError, seen.faults[:1])
    lone = seen.lone_class()
    if lone is not None and usage.training:
        usage.faults.append(DataError(f"{usage.name}: {lone}"))
    if seen.missing:
        text = f"{len(seen.missing)} of {usage.samples} label maps are missing, e.g."
        text = f"{usage.name}: {text} {seen.missing[0]} (data_prefix, img_suffix, seg_map_suffix)"
        everything = len(seen.missing) == usage.samples
        usage.faults += [DataError(text)] if everything else []
        usage.warnings += [] if everything else [text]
    if seen.complete:
        usage.counts = seen.counts
    elif seen.looked_at:
        held = ", ".join(f"{name} {number}" for name, number in seen.counts.items() if number)
        usage.notes.append(f"{seen.looked_at} sampled label maps contain {held}")


def _labels(part: Any, usage: Usage, num_classes: int | None) -> None:
    if usage.objects is not None or reads_label_maps(part):
        return
    labels = read_labels(part)
    if labels is None:
        return
    usage.counts = count_labels(labels, usage.classes)
    fault = label_fault(part, labels, num_classes) if num_classes else None
    if fault is not None:
        usage.faults.append(LabelError(fault))


def _files(part: Any, usage: Usage) -> None:
    found = left_out_of(part, SECONDS)
    if found is None or not found.counts:
        return
    text = f"skipped files: {found.text()}{'' if found.complete else ', and more'}"
    if found.images:
        usage.warnings.append(f"{usage.name}: {text}. Convert, repair or remove them")
    else:
        usage.notes.append(text)


def left_out_of(part: Any, seconds: float = float("inf")) -> LeftOut | None:
    """Find files in the folder of a dataset that are not part of it.

    Args:
        part (Dataset): Dataset of any MM library, not a wrapper.
        seconds (float): Time limit in seconds. Defaults to infinity.

    Returns:
        LeftOut | None: Unused files, or None if the dataset does not read a whole folder.
    """
    if getattr(part, "ann_file", None):
        return None
    if hasattr(part, "class_names") and hasattr(part, "source"):
        folder, kept = part.source()
        held_out = kept == "held out"  # unused files are reported for the training split
        return None if held_out else files_left_out(folder, part.extensions, True, seconds=seconds)
    if hasattr(part, "extensions") and hasattr(part, "img_prefix"):
        labeled = getattr(part, "with_label", True)
        return files_left_out(part.img_prefix, tuple(part.extensions), labeled, seconds=seconds)
    if reads_label_maps(part):
        folder = part.data_prefix.get("img_path", "")
        if not hasattr(part, "img_suffix"):  # LabelMaps supports all file extensions
            return files_left_out(folder, part.extensions, seconds=seconds)
        return files_left_out(folder, (part.img_suffix,), match_case=True, seconds=seconds)
    return None


def _images(part: Any, usage: Usage) -> None:
    if not hasattr(part, "get_data_info"):
        return
    seen = look_at_images(part)
    usage.faults += map(DataError, seen.faults[:1])
    usage.warnings += [f"{usage.name}: {text}" for text in seen.warnings()]
    missing, looked_at = _missing(part)
    if missing:
        text = f"{usage.name}: {len(missing)} of {looked_at} images are missing, e.g."
        text = f"{text} {missing[0]} (data_root, data_prefix, ann_file)"
        everything = len(missing) == looked_at
        usage.faults += [DataError(text)] if everything else []
        usage.warnings += [] if everything else [text]


def _missing(part: Any) -> tuple[list[str], int]:
    """Find listed images that do not exist, as far as the time limit allows."""
    loader = transform_of(part, LoadImageFromFile)
    if loader is None or loader.backend_args or loader.file_client_args:
        return [], 0
    missing, looked_at, until = [], 0, time.monotonic() + SECONDS
    for index in range(len(part)):
        info = part.get_data_info(index)
        path = info.get("img_path")
        if "img" in info or not isinstance(path, str) or "://" in path:
            break
        looked_at += 1
        if not osp.exists(path):
            missing.append(path)
        if time.monotonic() > until:
            break
    return missing, looked_at
