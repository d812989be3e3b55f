"""File search in data folders, path sanitization, and image sizes from file headers."""

from __future__ import annotations

import os
import os.path as osp
import warnings
from collections.abc import Iterator

from PIL import Image

from smallvit.datasets.io.limits import max_pixels
from smallvit.errors import DataError

IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp"),
    *(".jpe", ".jfif"),
)
#: Maximum number of files in a data folder.
MAX_FILES = 5_000_000
#: Maximum size of a label file in bytes; the label file of an image is typically a few kilobytes.
MAX_BYTES = 64 << 20
#: Split by lower-case folder name.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
#: EXIF orientation tag, and its values that include a rotation by 90 degrees.
_ORIENTATION, _TURNED = 274, (5, 6, 7, 8)


def files_below(root: str, endings: tuple[str, ...]) -> list[str]:
    """List the files in a folder and its subfolders by extension.

    Symbolic links are followed, but no folder is visited twice. Hidden files and folders (names
    that start with a dot) are ignored.

    Args:
        root (str): Folder to search.
        endings (tuple[str, ...]): Lower-case file name extensions; the comparison is
            case-insensitive.

    Returns:
        list[str]: Sorted paths relative to the folder, with ``/`` as separator.

    Raises:
        DataError: If there are more than ``MAX_FILES`` files.
    """
    found: list[str] = []
    seen: set[tuple[int, int]] = set()
    for folder, names, files in os.walk(root, followlinks=True):
        names[:] = [name for name in sorted(names) if not name.startswith(".")]
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            names.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        below = osp.relpath(folder, root).replace(os.sep, "/")
        prefix = "" if below == "." else f"{below}/"
        found += [
            prefix + name
            for name in files
            if name.lower().endswith(endings) and not name.startswith(".")
        ]
        if len(found) > MAX_FILES:
            raise DataError(
                f"{root} contains more than {MAX_FILES} files. Pass the folder of the dataset"
            )
    return sorted(found)


def images_below(root: str) -> list[str]:
    """List the images in a folder and its subfolders; see :func:`files_below`."""
    return files_below(root, IMAGE_ENDINGS)


def split_of(name: str) -> str | None:
    """Infer the split of a file from the names of its parent folders.

    Args:
        name (str): Path relative to the data folder.

    Returns:
        str | None: ``train``, ``val`` or ``test``; None if no parent folder is named after a split.
    """
    for part in name.split("/")[:-1]:
        if part.lower() in SPLIT_NAMES:
            return SPLIT_NAMES[part.lower()]
    return None


def inside(folder: str, path: str) -> str | None:
    """Resolve a path from an annotation file against a folder of the dataset.

    Args:
        folder (str): Base folder, relative to the data folder.
        path (str): Path in the annotation file, with ``/`` or a backslash as separator.

    Returns:
        str | None: Path relative to the data folder; None if it is outside of the data folder.
    """
    path = path.replace("\\", "/")
    if not path or path.startswith("/") or ":" in path.split("/")[0] or "\0" in path:
        return None
    joined = osp.normpath(osp.join(folder, path)).replace(os.sep, "/")
    return None if joined == ".." or joined.startswith("../") else joined


def size_of_image(path: str) -> tuple[int, int] | str:
    """Read the width and height of an image from its header.

    Args:
        path (str): Path of the image file.

    Returns:
        tuple[int, int] | str: Width and height after applying the EXIF orientation, or the reason
        why the image cannot be used.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                width, height = image.size
                turned = image.getexif().get(_ORIENTATION, 1) in _TURNED
    except Image.DecompressionBombError:
        return "image above the limit of pixels"
    except Exception:
        return "unreadable image"
    if width * height > max_pixels():
        return "image above the limit of pixels"
    return (height, width) if turned else (width, height)


def content_of(path: str) -> bytes | str:
    """Read a label file.

    Args:
        path (str): Path of the label file.

    Returns:
        bytes | str: File content, or the reason why the file cannot be used.
    """
    try:
        if os.path.getsize(path) > MAX_BYTES:
            return f"label file above {MAX_BYTES >> 20} MiB"
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        return f"unreadable file ({error.strerror})"


def iter_texts(root: str, names: list[str]) -> Iterator[tuple[str, str]]:
    """Iterate over the contents of text files; unreadable files are skipped.

    Args:
        root (str): Data folder.
        names (list[str]): Paths of the text files relative to the data folder.

    Yields:
        tuple[str, str]: Relative path and text of a file.
    """
    for name in names:
        content = content_of(osp.join(root, name))
        if isinstance(content, bytes):
            yield name, content.decode("utf-8-sig", errors="replace")
