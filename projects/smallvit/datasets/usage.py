"""Summary of the data that a run uses: images, objects, classes, and what is dropped and why."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from smallvit.errors import DataError

#: Number of examples below which a class is marked as rare.
RARE = 10
#: Maximum number of classes that a table lists individually.
LISTED = 20


@dataclass
class Usage:
    """What a run uses from one dataset.

    Args:
        split (str): ``train``, ``val`` or ``test``.
        name (str): Type of the dataset, and where it is.
        samples (int): Its images.
        classes (Sequence[str], optional): Its classes. Defaults to None: not known.
        counts (Mapping[str, int], optional): Images or objects of each class. Defaults to None:
            not known.
        objects (int, optional): Objects, where an image may have several. Defaults to None.
        with_objects (int): Images that have one. Defaults to 0.
        unit (str): What ``counts`` counts, for the table. Defaults to "", the images or objects.
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
    unit: str = ""
    notes: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    faults: list[DataError] = field(default_factory=list)

    @property
    def training(self) -> bool:
        """bool: Whether it is used for training."""
        return self.split == "train"

    def lines(self) -> Iterator[str]:
        """Format the summary.

        Yields:
            str: Lines of the table.
        """
        verb = "trains on" if self.training else "evaluates on"
        if self.objects is None:
            yield f"{verb} {self.samples} images of {self.name}"
        else:
            without = self.samples - self.with_objects
            where = f"{self.with_objects} images of {self.name}"
            rest = f", and {without} images without one" if without > 0 else ""
            yield f"{verb} {self.objects} objects in {where}{rest}"
        if self.counts:
            yield class_text(self.counts, self.unit)
        yield from self.notes


def class_text(counts: Mapping[str, int], unit: str = "") -> str:
    """List classes with their counts, with rare and empty ones marked.

    Args:
        counts (Mapping[str, int]): Examples of each class.
        unit (str): What they are, if that is not clear. Defaults to "".

    Returns:
        str: One line.
    """
    head = f"{len(counts)} classes{f' in {unit}' if unit else ''}"
    if len(counts) <= LISTED:
        return f"{head}: " + ", ".join(
            f"{name} {number}{_mark(number)}" for name, number in counts.items()
        )
    few = min(counts, key=counts.__getitem__)
    many = max(counts, key=counts.__getitem__)
    marked = [f"{name} {number}{_mark(number)}" for name, number in counts.items() if number < RARE]
    more = f", ... ({len(marked)} such classes)" if len(marked) > LISTED else ""
    text = f"{head}, from {counts[few]} ({few}) to {counts[many]} ({many})"
    return f"{text}; {', '.join(marked[:LISTED])}{more}" if marked else text


def _mark(number: int) -> str:
    return " (none)" if number == 0 else " (rare)" if number < RARE else ""


def empty_classes(usage: Usage) -> list[str]:
    """Find classes without examples.

    Args:
        usage (Usage): What is known of a dataset.

    Returns:
        list[str]: Their names.
    """
    return [name for name, number in (usage.counts or {}).items() if number == 0]
