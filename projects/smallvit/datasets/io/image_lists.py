"""Lists of labeled images from class folders and MMPretrain annotation files."""

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
    """Image paths and labels, in dataset order.

    Args:
        root (str): Root folder of the image paths.
        samples (tuple[tuple[str, int], ...]): Path relative to ``root``, with ``/`` as separator,
            and label of each image.
        classes (tuple[str, ...], optional): Class names, indexed by label. Defaults to None.
    """

    root: str
    samples: tuple[tuple[str, int], ...]
    classes: tuple[str, ...] | None = None

    @property
    def digest(self) -> str:
        """str: SHA-256 digest of the paths and labels, in hexadecimal."""
        return hashlib.sha256(annotation_text(self.samples).encode()).hexdigest()


def annotation_text(samples: Sequence[tuple[str, int]]) -> str:
    """Format samples as an ``ann_file`` of MMPretrain's ``CustomDataset``.

    Args:
        samples (Sequence[tuple[str, int]]): Path and label of each image.

    Returns:
        str: Text with one line ``path label`` per image.
    """
    return "".join(f"{path} {label}\n" for path, label in samples)


def list_folder(root: str) -> ImageList:
    """List the images in class folders, as in MMPretrain's ``CustomDataset`` and ``ImageNet``.

    Args:
        root (str): Folder that contains the class folders.

    Returns:
        ImageList: Images, with the indices of the sorted folder names as labels.

    Raises:
        UserError: If the folder does not exist, or its class folders are ambiguous or empty.
    """
    from mmpretrain.datasets import ImageNet
    from mmpretrain.datasets.custom import find_folders, get_samples

    if not osp.isdir(root):
        raise UserError(f"no such folder: {root}")
    classes, labels = find_folders(root)
    problems = clashing_names(classes)
    if not classes:
        problems.append("there is no class folder. For images in one folder, pass --ann-file")
    samples, empty = get_samples(
        root, labels, lambda name: name.lower().endswith(ImageNet.IMG_EXTENSIONS)
    )
    problems += [
        f"class folder {name!r} contains no image ({' '.join(ImageNet.IMG_EXTENSIONS)}). Remove it"
        for name in sorted(empty)
    ]
    if problems:
        raise UserError(f"{root}: {shorten(problems)}")
    slashed = tuple((path.replace(os.sep, "/"), label) for path, label in samples)
    return ImageList(root, slashed, tuple(classes))


def clashing_names(names: Sequence[str]) -> list[str]:
    """Find folder names that differ only in case, which many file systems do not distinguish.

    Args:
        names (Sequence[str]): Names of class folders.

    Returns:
        list[str]: Error message for each group of such names.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.casefold(), []).append(name)
    return [
        f"class folders {' and '.join(map(repr, group))} differ only in case. Rename or merge them"
        for group in groups.values()
        if len(group) > 1
    ]


def read_annotations(path: str, root: str, classes_file: str | None = None) -> ImageList:
    """Read an annotation file of MMPretrain's ``CustomDataset``.

    Args:
        path (str): Annotation file with one line ``path label`` per image.
        root (str): Root folder of the image paths.
        classes_file (str, optional): File with one class name per line. Defaults to None.

    Returns:
        ImageList: Images with their labels.

    Raises:
        UserError: If a file is missing, or a line is invalid.
    """
    classes = tuple(read_lines(classes_file)) if classes_file else None
    samples, seen = [], {}
    for number, line in enumerate(read_lines(path), 1):
        name, space, label = line.strip().rpartition(" ")
        where = f"{path}, line {number}"
        if not space or not label.isdecimal():
            raise UserError(f"{where}: expected 'path label' with a label from 0, got {line!r}")
        if classes is not None and int(label) >= len(classes):
            raise UserError(f"{where}: label {label}, but {classes_file} has {len(classes)} names")
        if name in seen:
            raise UserError(f"{where}: {name!r} is a duplicate of line {seen[name]}. Remove one")
        seen[name] = number
        samples.append((name.strip(), int(label)))
    if not samples:
        raise UserError(f"{path} lists no images")
    return ImageList(root, tuple(samples), classes)


def require_name(name: str, where: str) -> str:
    """Check that a name from an untrusted file is a plain file or folder name.

    Args:
        name (str): Name to check.
        where (str): Location of the name, for the error message.

    Returns:
        str: The unchanged name.

    Raises:
        DataError: If the name is empty or a path.
    """
    if name in ("", ".", "..") or set(name) & set("/\\\0"):
        raise DataError(f"{where}: expected a file or folder name, got the path {name!r}")
    return name


def read_lines(path: str) -> list[str]:
    """Read the non-empty lines of a text file.

    Args:
        path (str): Path of a UTF-8 text file.

    Returns:
        list[str]: Lines without line breaks.

    Raises:
        UserError: If the file cannot be read or is not UTF-8.
    """
    try:
        with open(path, encoding="utf-8") as file:
            return [line.rstrip("\r\n") for line in file if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot be read ({reason})") from error
