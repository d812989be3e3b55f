"""What a run takes from a data set: images, objects, classes, and what is left out and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from smallvit.datasets.coco_checks import check_summary, left_out_text, summary_of
from smallvit.datasets.labels import count_labels, label_fault, read_labels
from smallvit.datasets.sample_checks import parts_of
from smallvit.errors import DataError, LabelError

#: Examples of a class below which it is marked as rare.
RARE = 10
#: Classes that a table lists one by one.
LISTED = 20


@dataclass
class Usage:
    """What a run takes from one data set.

    Args:
        split (str): ``train``, ``val`` or ``test``.
        name (str): Type of the data set, and where it is.
        samples (int): Its images.
        classes (Sequence[str], optional): Its classes. Defaults to None: not known.
        counts (Mapping[str, int], optional): Images or objects of each class. Defaults to None:
            not known.
        objects (int, optional): Objects, where an image may have several. Defaults to None.
        with_objects (int): Images that have one. Defaults to 0.
        notes (list[str]): What to know about it: left out by choice, mended.
        warnings (list[str]): What is probably not meant.
        faults (list[DataError]): What a run cannot go on with, each with the way out.
    """

    split: str
    name: str
    samples: int
    classes: Sequence[str] | None = None
    counts: Mapping[str, int] | None = None
    objects: int | None = None
    with_objects: int = 0
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    faults: list[DataError] = field(default_factory=list)

    @property
    def training(self) -> bool:
        """bool: Whether it is trained on."""
        return self.split == "train"

    def lines(self) -> Iterator[str]:
        """Describe it.

        Yields:
            str: Lines of the table.
        """
        verb = "trains on" if self.training else "is measured on"
        if self.objects is None:
            yield f"{verb} {self.samples} images of {self.name}"
        else:
            without = self.samples - self.with_objects
            where = f"{self.with_objects} images of {self.name}"
            rest = f", and {without} images without one" if without > 0 else ""
            yield f"{verb} {self.objects} objects in {where}{rest}"
        if self.counts:
            yield class_text(self.counts)
        yield from self.notes


def class_text(counts: Mapping[str, int]) -> str:
    """List classes with their counts, rare and empty ones marked.

    Args:
        counts (Mapping[str, int]): Examples of each class.

    Returns:
        str: One line.
    """
    if len(counts) <= LISTED:
        return f"{len(counts)} classes: " + ", ".join(
            f"{name} {number}{_mark(number)}" for name, number in counts.items()
        )
    few = min(counts, key=counts.__getitem__)
    many = max(counts, key=counts.__getitem__)
    marked = [f"{name} {number}{_mark(number)}" for name, number in counts.items() if number < RARE]
    more = f", ... ({len(marked)} such classes)" if len(marked) > LISTED else ""
    text = f"{len(counts)} classes, from {counts[few]} ({few}) to {counts[many]} ({many})"
    return f"{text}; {', '.join(marked[:LISTED])}{more}" if marked else text


def _mark(number: int) -> str:
    return " (none)" if number == 0 else " (rare)" if number < RARE else ""


def describe(dataset: Any, split: str, num_classes: int | None = None) -> list[Usage]:
    """Describe what a run takes from a data set.

    Args:
        dataset (Dataset): A data set of a loader.
        split (str): ``train``, ``val`` or ``test``.
        num_classes (int, optional): Classes of a classifier's head. Defaults to None.

    Returns:
        list[Usage]: One for each data set that it is made of.
    """
    found = []
    for part in parts_of(dataset):
        where = _place(part)
        name = f"{type(part).__name__}{f' {where}' if where else ''}"
        usage = Usage(split, name, len(part))
        _classes(part, usage)
        if not _coco(part, usage):
            _labels(part, usage, num_classes)
        found.append(usage)
    return found


def _place(part: Any) -> str:
    for name in ("ann_file", "img_prefix", "data_root"):
        value = getattr(part, name, None)
        if isinstance(value, str) and value:
            return value
    prefix = getattr(part, "data_prefix", None) or {}
    return next((str(value) for value in prefix.values() if value), "")


def _classes(part: Any, usage: Usage) -> None:
    classes = (getattr(part, "metainfo", None) or {}).get("classes")
    if isinstance(classes, str):
        text = f"classes={classes!r} is a text, of which each letter would be a class"
        usage.faults.append(
            DataError(f"{usage.name}: {text}: write classes=({classes!r},), with a comma")
        )
    elif classes is not None:
        usage.classes = tuple(classes)


def _coco(part: Any, usage: Usage) -> bool:
    summary = summary_of(part)
    if summary is None:
        return False
    usage.counts, usage.objects = summary.trained, sum(summary.trained.values())
    usage.with_objects = summary.with_objects
    usage.faults += map(DataError, check_summary(summary, usage.training))
    usage.warnings += [f"{summary.path}: {repair}" for repair in summary.repaired]
    usage.warnings += [f"{summary.path}: {text}" for text in summary.warnings]
    text = f"left out of {summary.objects} objects{left_out_text(summary)}"
    if summary.by_fault:
        usage.warnings.append(f"{summary.path}: {text}")
    elif summary.left_out:
        usage.notes.append(text)
    if summary.images > usage.samples:
        rest = summary.images - usage.samples
        usage.notes.append(f"{rest} of {summary.images} images are left out (filter_cfg, indices)")
    return True


def _labels(part: Any, usage: Usage, num_classes: int | None) -> None:
    labels = read_labels(part)
    if labels is None:
        return
    usage.counts = count_labels(labels, usage.classes)
    fault = label_fault(part, labels, num_classes) if num_classes else None
    if fault is not None:
        usage.faults.append(LabelError(fault))


def empty_classes(usage: Usage) -> list[str]:
    """Find classes without an example.

    Args:
        usage (Usage): What is known of a data set.

    Returns:
        list[str]: Their names.
    """
    return [name for name, number in (usage.counts or {}).items() if number == 0]
