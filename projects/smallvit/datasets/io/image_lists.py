"""Lists of labelled images: class folders, and annotation files of MMPretrain."""

from __future__ import annotations

import hashlib
import os
import os.path as osp
from collections.abc import Sequence
from dataclasses import dataclass

from smallvit.errors import DataError, UserError
from smallvit.utils.text import shorten


@dataclass(frozen=True)
class ImageList:
    """Images with labels, in the order of the data set.

    Args:
        root (str): Folder that the paths are relative to.
        samples (tuple[tuple[str, int], ...]): Path, with ``/``, and label of each image.
        classes (tuple[str, ...], optional): Names of the labels. Defaults to None.
    """

    root: str
    samples: tuple[tuple[str, int], ...]
    classes: tuple[str, ...] | None = None

    @property
    def digest(self) -> str:
        """str: A fingerprint of paths and labels."""
        return hashlib.sha256(annotation_text(self.samples).encode()).hexdigest()


def annotation_text(samples: Sequence[tuple[str, int]]) -> str:
    """Write samples as MMPretrain's ``CustomDataset`` reads them from an ``ann_file``.

    Args:
        samples (Sequence[tuple[str, int]]): Paths and labels.

    Returns:
        str: A line ``path label`` for each.
    """
    return "".join(f"{path} {label}\n" for path, label in samples)


def list_folder(root: str) -> ImageList:
    """List class folders as MMPretrain's ``CustomDataset`` and ``ImageNet`` do.

    Args:
        root (str): The folder of class folders.

    Returns:
        ImageList: Its images; labels follow the sorted names of the folders.

    Raises:
        UserError: If there is no such folder, or its class folders make no clear labels.
    """
    from mmpretrain.datasets import ImageNet
    from mmpretrain.datasets.custom import find_folders, get_samples

    if not osp.isdir(root):
        raise UserError(f"no such folder: {root}")
    classes, labels = find_folders(root)
    problems = clashing_names(classes)
    if not classes:
        problems.append("there is no class folder; for images in one folder give --ann-file")
    samples, empty = get_samples(
        root, labels, lambda name: name.lower().endswith(ImageNet.IMG_EXTENSIONS)
    )
    problems += [
        f"class folder {name!r} holds no image ({' '.join(ImageNet.IMG_EXTENSIONS)}): remove it"
        for name in sorted(empty)
    ]
    if problems:
        raise UserError(f"{root}: {shorten(problems)}")
    slashed = tuple((path.replace(os.sep, "/"), label) for path, label in samples)
    return ImageList(root, slashed, tuple(classes))


def clashing_names(names: Sequence[str]) -> list[str]:
    """Find names that differ in upper and lower case alone, one folder on many systems.

    Args:
        names (Sequence[str]): Names of class folders.

    Returns:
        list[str]: A sentence for each clash.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.casefold(), []).append(name)
    return [
        f"class folders {' and '.join(map(repr, group))} differ in case alone: rename or merge them"
        for group in groups.values()
        if len(group) > 1
    ]


def read_annotations(path: str, root: str, classes_file: str | None = None) -> ImageList:
    """Read an annotation file.

    Args:
        path (str): The file, with a line ``path label`` for each image.
        root (str): Folder that the paths are relative to.
        classes_file (str, optional): File with the name of a class in each line. Defaults
            to None.

    Returns:
        ImageList: What it lists.

    Raises:
        UserError: If a file is missing, or a line is not of that form.
    """
    classes = tuple(read_lines(classes_file)) if classes_file else None
    samples, seen = [], {}
    for number, line in enumerate(read_lines(path), 1):
        name, space, label = line.strip().rpartition(" ")
        where = f"{path}, line {number}"
        if not space or not label.isdecimal():
            raise UserError(f"{where}: {line!r} is not of the form: path label (0, 1, 2, ...)")
        if classes is not None and int(label) >= len(classes):
            raise UserError(f"{where}: label {label}, but {classes_file} has {len(classes)} names")
        if name in seen:
            raise UserError(f"{where}: {name!r} is in line {seen[name]} already")
        seen[name] = number
        samples.append((name.strip(), int(label)))
    if not samples:
        raise UserError(f"{path} lists no images")
    return ImageList(root, tuple(samples), classes)


def require_name(name: str, where: str) -> str:
    """Check that a name in a file is that of one thing in a folder, and no way out of it.

    Args:
        name (str): The name.
        where (str): Where it stands, for the error.

    Returns:
        str: The name.

    Raises:
        DataError: If it leads elsewhere.
    """
    if name in ("", ".", "..") or set(name) & set("/\\\0"):
        raise DataError(f"{where}: {name!r} is no name in a folder, and leads out of it")
    return name


def read_lines(path: str) -> list[str]:
    """Read the lines of a text file that hold anything.

    Args:
        path (str): The file, UTF-8.

    Returns:
        list[str]: The lines without their ends.

    Raises:
        UserError: If it is missing or no text.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return [line.rstrip("\r\n") for line in file if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason})") from error
