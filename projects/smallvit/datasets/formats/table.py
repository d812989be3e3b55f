"""Tables of file names and labels: CSV, with one label an image or several."""

from __future__ import annotations

import csv
import os
import os.path as osp
from dataclasses import dataclass
from functools import lru_cache

from smallvit.datasets.formats.folders import IMAGE_ENDINGS
from smallvit.datasets.io.bands import BAND_ENDINGS
from smallvit.errors import DataError

#: Endings that a file may have; those of photographs are looked for first.
ENDINGS = tuple(dict.fromkeys((*IMAGE_ENDINGS, *BAND_ENDINGS)))
#: Names of the column of files, of labels and of splits, in lower case.
FILES = ("file", "filename", "file_name", "image", "image_name", "image_path", "img", "path", "id")
LABELS = ("label", "labels", "class", "classes", "tag", "tags", "category", "target")
SPLITS = ("split", "set", "subset", "fold_set")
#: What stands between several labels of an image.
SEPARATORS = ";|,"
#: What people call the splits.
NAMES = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
NAMES |= {"dev": "val", "test": "test", "testing": "test"}
YES, NO = ("1", "1.0", "true", "yes"), ("0", "0.0", "false", "no", "")


@dataclass(frozen=True)
class Row:
    """An image of a table.

    Args:
        name (str): Its file, relative to the folder of the table.
        labels (tuple[str, ...]): Names of its classes.
        split (str): ``train``, ``val``, ``test``, or "" where the table says none.
    """

    name: str
    labels: tuple[str, ...]
    split: str


@dataclass(frozen=True)
class Table:
    """A table of labels.

    Args:
        classes (tuple[str, ...]): The classes, sorted; those of columns in their order.
        several (bool): Whether images may have several labels, or none.
        rows (tuple[Row, ...]): The images.
    """

    classes: tuple[str, ...]
    several: bool
    rows: tuple[Row, ...]


def is_table(path: str) -> bool:
    """Tell whether a path is a table of labels.

    Args:
        path (str): A file or folder.

    Returns:
        bool: Whether it is a CSV file.
    """
    return osp.isfile(path) and path.lower().endswith((".csv", ".tsv"))


def read_table(path: str) -> Table:
    """Read a table of labels, once as long as the file stays as it is.

    The first line names the columns: one of files, relative to the folder of the table or to a
    folder ``images`` in it; either one of labels, several of which stand between ``;``, ``|`` or
    ``,``, or one for each class with 0 and 1; and, if there is one, one of splits.

    Args:
        path (str): Path of the file.

    Returns:
        Table: Its content.

    Raises:
        DataError: If it is not as it must be; the message names the line.
    """
    try:
        return _read(path, os.stat(path).st_mtime_ns)
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error


@lru_cache(maxsize=8)
def _read(path: str, changed: int) -> Table:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            lines = list(csv.reader(file, delimiter="\t" if path.lower().endswith("tsv") else ","))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no table: {error}") from error
    lines = [(number, line) for number, line in enumerate(lines, 1) if any(line)]
    if len(lines) < 2:
        raise DataError(f"{path} holds no line below its head, which names the columns")
    head = [name.strip() for name in lines[0][1]]
    for number, line in lines[1:]:
        if len(line) != len(head):
            raise DataError(
                f"{path}, line {number}: {len(line)} values, and the first line names {len(head)} "
                "columns; labels with a comma stand in quotes"
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
            raise DataError(f"{where}: {name} is on line {seen[name]} already: keep one of them")
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
        raise DataError(f"{path}: {len(classes)} class; at least two are needed to tell apart")
    _check_splits(path, rows)
    return Table(classes, several, tuple(rows))


def _columns(path: str, head: list[str]) -> tuple[int, int | None, int | None, list[int]]:
    lower = [name.lower() for name in head]
    files = next((lower.index(name) for name in FILES if name in lower), None)
    if files is None:
        raise DataError(
            f"{path}: none of its columns ({', '.join(head[:8])}) names the files: call it file"
        )
    split = next((lower.index(name) for name in SPLITS if name in lower), None)
    labels = next((lower.index(name) for name in LABELS if name in lower), None)
    rest = [place for place in range(len(head)) if place not in (files, split, labels)]
    if labels is not None:
        if rest:
            extra = ", ".join(head[place] for place in rest[:6])
            raise DataError(
                f"{path}: beside {head[labels]} there are columns that nothing reads: {extra}. "
                "Remove them"
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
        raise DataError(f"{where}: {text!r} names a class twice")
    return tuple(names)


def _marked(where: str, head: list[str], values: list[str], marks: list[int]) -> tuple[str, ...]:
    for mark in marks:
        if values[mark].lower() not in (*YES, *NO):
            raise DataError(
                f"{where}: {values[mark]!r} in column {head[mark]}, where 0 or 1 says whether the "
                "image has the class; one column of names is called label"
            )
    return tuple(head[mark] for mark in marks if values[mark].lower() in YES)


def _split(where: str, text: str) -> str:
    if text.lower() not in NAMES:
        raise DataError(f"{where}: split {text!r}; there are train, val and test")
    return NAMES[text.lower()]


def _check_splits(path: str, rows: list[Row]) -> None:
    splits = {row.split for row in rows}
    if splits != {""} and "train" not in splits:
        raise DataError(f"{path}: no image is of split train")
    trained = {label for row in rows if row.split in ("", "train") for label in row.labels}
    for row in rows:
        for label in row.labels:
            if label not in trained:
                raise DataError(
                    f"{path}: no training image has class {label!r}, which {row.name} of split "
                    f"{row.split} has"
                )


class _Finder:
    """Where the files of a table are."""

    def __init__(self, path: str) -> None:
        self.path, self.root = path, osp.dirname(osp.abspath(path))
        self.folders = ["", "images", osp.splitext(osp.basename(path))[0]]
        self.missing: list[str] = []

    def find(self, name: str, where: str) -> str:
        if not name:
            raise DataError(f"{where}: no file is named")
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
                f"{self.missing[0]} is in none of {places}"
                + (f", and {len(self.missing) - 1} more are not" if len(self.missing) > 1 else "")
            )
