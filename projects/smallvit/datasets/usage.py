"""Summary of the data used by a run: images, objects, classes and ignored data."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from smallvit.errors import DataError

#: Number of examples below which a class is marked as rare.
RARE = 10
#: Maximum number of classes listed individually in a table.
LISTED = 20


@dataclass
class Usage:
    """Summary of the data that a run uses from one dataset.

    Args:
        split (str): ``train``, ``val`` or ``test``.
        name (str): Type and location of the dataset.
        samples (int): Number of images.
        classes (Sequence[str], optional): Class names. Defaults to None (unknown).
        counts (Mapping[str, int], optional): Number of images or objects per class. Defaults to
            None (unknown).
        objects (int, optional): Number of objects in a detection dataset. Defaults to None.
        with_objects (int): Number of images with at least one object. Defaults to 0.
        unit (str): Unit of ``counts`` in the table. Defaults to "", for images or objects.
        notes (list[str]): Remarks, such as intentionally ignored data or repairs.
        warnings (list[str]): Probable mistakes.
        faults (list[DataError]): Errors that prevent the run, each with a fix.
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
            str: Line of the table.
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
    """Format class counts, with rare and empty classes marked.

    Args:
        counts (Mapping[str, int]): Number of examples per class.
        unit (str): Unit of the counts. Defaults to "", which omits the unit.

    Returns:
        str: Single line of text.
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
        usage (Usage): Summary of a dataset.

    Returns:
        list[str]: Names of classes without examples.
    """
    return [name for name, number in (usage.counts or {}).items() if number == 0]
