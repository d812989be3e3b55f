"""Reader for label tables: CSV files with one or several labels per image."""

from __future__ import annotations

import csv
import os
import os.path as osp
from dataclasses import dataclass
from functools import lru_cache

from smallvit.datasets.formats.folders import IMAGE_ENDINGS
from smallvit.datasets.io.bands import BAND_ENDINGS
from smallvit.errors import DataError

#: File name extensions of images, in the order in which they are tried.
ENDINGS = tuple(dict.fromkeys((*IMAGE_ENDINGS, *BAND_ENDINGS)))
#: Recognized names (in lower case) of the columns with file names, labels and splits.
FILES = ("file", "filename", "file_name", "image", "image_name", "image_path", "img", "path")
FILES += ("image_id", "id")
LABELS = ("label", "labels", "class", "classes", "tag", "tags", "category", "target")
SPLITS = ("split", "set", "subset", "fold_set")
#: Separators of multiple labels in one cell.
SEPARATORS = ";|,"
#: Split by the accepted values of the split column.
NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
NAMES |= {"dev": "val", "test": "test", "testing": "test"}
YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no", "")


@dataclass(frozen=True)
class Row:
    """Row of a label table.

    Args:
        name (str): Image path relative to the folder of the table.
        labels (tuple[str, ...]): Class names of the image.
        split (str): ``train``, ``val`` or ``test``; "" if the table has no split column.
    """

    name: str
    labels: tuple[str, ...]
    split: str


@dataclass(frozen=True)
class Table:
    """Parsed label table.

    Args:
        classes (tuple[str, ...]): Class names: in column order if each class has its own column,
            otherwise sorted.
        several (bool): Whether the table is multi-label.
        rows (tuple[Row, ...]): One row per image.
    """

    classes: tuple[str, ...]
    several: bool
    rows: tuple[Row, ...]


def is_table(path: str) -> bool:
    """Check whether a path is a label table.

    Args:
        path (str): Path of a file or folder.

    Returns:
        bool: True for an existing CSV or TSV file.
    """
    return osp.isfile(path) and path.lower().endswith((".csv", ".tsv"))


def read_table(path: str) -> Table:
    """Read a label table; the result is cached until the file changes.

    The first line is the header. The columns are:

    - File names, relative to the folder of the table or to its subfolder ``images``.
    - Either one column with labels, where multiple labels are separated by ``;``, ``|`` or ``,``,
      or one column with 0 and 1 for each class.
    - Optionally, splits.

    Columns are separated by ``,``, or by ``;`` if the header contains no comma.

    Args:
        path (str): Path of the CSV or TSV file.

    Returns:
        Table: Classes and rows of the table.

    Raises:
        DataError: If the table is invalid or cannot be read.
    """
    try:
        return _read(path, os.stat(path).st_mtime_ns)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=8)
def _read(path: str, changed: int) -> Table:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            delimiter = _delimiter(path, file.readline())
            file.seek(0)
            lines = list(csv.reader(file, delimiter=delimiter))
    except UnicodeDecodeError as error:
        text = f"{path} is not encoded in UTF-8 ({error}). Save it as CSV UTF-8"
        raise DataError(text) from error
    except csv.Error as error:
        raise DataError(f"{path} is not a valid CSV file: {error}") from error
    lines = [(number, line) for number, line in enumerate(lines, 1) if any(line)]
    if len(lines) < 2:
        raise DataError(f"{path} contains no row below the header line")
    head = [name.strip() for name in lines[0][1]]
    for number, line in lines[1:]:
        if len(line) != len(head):
            raise DataError(
                f"{path}, line {number}: expected {len(head)} values as in the header, got "
                f"{len(line)}. Quote labels that contain {delimiter!r}"
            )
    files, labels, split, marks = _columns(path, head)
    finder = _Finder(path)
    several = labels is None or _has_several(lines[1:], labels)
    rows, seen = [], {}
    for number, line in lines[1:]:
        where = f"{path}, line {number}"
        values = [value.strip() for value in line]
        name = finder.find(values[files], where)
        if name in seen:
            raise DataError(f"{where}: {name} is a duplicate of line {seen[name]}. Remove one")
        seen[name] = number
        found = (
            _marked(where, head, values, marks)
            if labels is None
            else _named(where, values[labels], several)
        )
        rows.append(Row(name, found, "" if split is None else _split(where, values[split])))
    finder.close()
    known = {label for row in rows for label in row.labels}
    classes = tuple(head[mark] for mark in marks) if labels is None else tuple(sorted(known))
    if len(classes) < 2:
        raise DataError(f"{path}: expected at least two classes, got {len(classes)}")
    _check_splits(path, rows)
    return Table(classes, several, tuple(rows))


def _delimiter(path: str, first: str) -> str:
    """Detect the delimiter; spreadsheets write ``;`` in locales with a decimal comma."""
    if path.lower().endswith("tsv"):
        return "\t"
    return ";" if ";" in first and "," not in first else ","


def _columns(path: str, head: list[str]) -> tuple[int, int | None, int | None, list[int]]:
    lower = [name.lower() for name in head]
    files = next((lower.index(name) for name in FILES if name in lower), None)
    if files is None:
        raise DataError(
            f"{path}: none of the columns ({', '.join(head[:8])}) contains the file names. Rename "
            "that column to file"
        )
    split = next((lower.index(name) for name in SPLITS if name in lower), None)
    labels = next((lower.index(name) for name in LABELS if name in lower), None)
    rest = [place for place in range(len(head)) if place not in (files, split, labels)]
    if labels is not None:
        if rest:
            extra = ", ".join(head[place] for place in rest[:6])
            raise DataError(
                f"{path}: columns that are not used beside {head[labels]}: {extra}. Remove them"
            )
        return files, labels, split, []
    if len(rest) == 1:
        return files, rest[0], split, []
    return files, None, split, rest


def _has_several(lines: list[tuple[int, list[str]]], labels: int) -> bool:
    return any(set(line[labels]) & set(SEPARATORS) or not line[labels].strip() for _, line in lines)


def _named(where: str, text: str, several: bool) -> tuple[str, ...]:
    for separator in SEPARATORS[1:] if several else "":
        text = text.replace(separator, SEPARATORS[0])
    names = [name.strip() for name in (text.split(SEPARATORS[0]) if several else [text])]
    names = [name for name in names if name]
    if len(set(names)) < len(names):
        raise DataError(f"{where}: {text!r} contains a class twice")
    return tuple(names)


def _marked(where: str, head: list[str], values: list[str], marks: list[int]) -> tuple[str, ...]:
    for mark in marks:
        if values[mark].lower() not in (*YES, *NO):
            raise DataError(
                f"{where}: expected 0 or 1 in column {head[mark]}, got {values[mark]!r}. A single "
                "column with class names must be called label"
            )
    return tuple(head[mark] for mark in marks if values[mark].lower() in YES)


def _split(where: str, text: str) -> str:
    if text.lower() not in NAMES:
        raise DataError(f"{where}: expected split train, val or test, got {text!r}")
    return NAMES[text.lower()]


def _check_splits(path: str, rows: list[Row]) -> None:
    splits = {row.split for row in rows}
    if splits != {""} and "train" not in splits:
        raise DataError(f"{path}: no image has the split train")
    trained = {label for row in rows if row.split in ("", "train") for label in row.labels}
    for row in rows:
        for label in row.labels:
            if label not in trained:
                raise DataError(
                    f"{path}: class {label!r} of {row.name} (split {row.split}) has no training "
                    "image"
                )


class _Finder:
    """Resolver of the file names in a table to image paths."""

    def __init__(self, path: str) -> None:
        self.path, self.root = path, osp.dirname(osp.abspath(path))
        self.folders = ["", "images", osp.splitext(osp.basename(path))[0]]
        self.missing: list[str] = []

    def find(self, name: str, where: str) -> str:
        if not name:
            raise DataError(f"{where}: the file name is empty")
        plain = name.replace("\\", "/")
        ends = ("",) if osp.splitext(plain)[1].lower() in ENDINGS else ("", *ENDINGS)
        for folder in self.folders:
            for end in ends:
                found = osp.join(folder, plain + end) if folder else plain + end
                if osp.isfile(osp.join(self.root, found)):
                    self.folders.sort(key=lambda one, first=folder: one != first)
                    return found
        self.missing.append(f"{where}: {name}")
        return plain

    def close(self) -> None:
        if self.missing:
            places = ", ".join(osp.join(self.root, folder) for folder in sorted(self.folders))
            raise DataError(
                f"{self.missing[0]} not found in {places}"
                + (f"; {len(self.missing) - 1} more are missing" if len(self.missing) > 1 else "")
            )
