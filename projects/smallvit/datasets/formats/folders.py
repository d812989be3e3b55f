"""Files of a data folder: found, kept inside of it, and measured by their headers."""

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
#: Files of one folder that are looked at, all formats together.
MAX_FILES = 5_000_000
#: A file of labels of one image has some kilobytes.
MAX_BYTES = 64 << 20
#: Names that folders of splits have, by split.
SPLIT_NAMES = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "eval"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
#: EXIF's number for an orientation, and the values that are a quarter turn.
_ORIENTATION, _TURNED = 274, (5, 6, 7, 8)


def files_below(root: str, endings: tuple[str, ...]) -> list[str]:
    """List the files of a folder and of the folders in it.

    Links to files are followed, and links to folders too, but no folder is entered twice.
    What begins with a dot is not seen.

    Args:
        root (str): Folder to search.
        endings (tuple[str, ...]): Endings of the names, in small letters; whatever their case.

    Returns:
        list[str]: Sorted paths relative to the folder, with ``/``.

    Raises:
        DataError: If it has more files than a data folder may.
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
            raise DataError(f"{root} holds more than {MAX_FILES} files: name the data folder")
    return sorted(found)


def images_below(root: str) -> list[str]:
    """List the images of a folder; see :func:`files_below`."""
    return files_below(root, IMAGE_ENDINGS)


def split_of(name: str) -> str | None:
    """Tell the split of a file by the folders that it is in.

    Args:
        name (str): Its path below the data folder.

    Returns:
        str | None: ``train``, ``val`` or ``test``; None where no folder says.
    """
    for part in name.split("/")[:-1]:
        if part.lower() in SPLIT_NAMES:
            return SPLIT_NAMES[part.lower()]
    return None


def inside(folder: str, path: str) -> str | None:
    """Join a path that a file names to a folder below the data folder.

    Args:
        folder (str): The folder, relative to the data folder.
        path (str): What the file says, with ``/`` or a backslash.

    Returns:
        str | None: The path relative to the data folder; None where it leads out of it.
    """
    path = path.replace("\\", "/")
    if not path or path.startswith("/") or ":" in path.split("/")[0] or "\0" in path:
        return None
    joined = osp.normpath(osp.join(folder, path)).replace(os.sep, "/")
    return None if joined == ".." or joined.startswith("../") else joined


def size_of_image(path: str) -> tuple[int, int] | str:
    """Read the width and height of an image from its header, as a viewer shows it.

    Args:
        path (str): Path of the file.

    Returns:
        tuple[int, int] | str: Width and height; or why it cannot be used.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(path) as image:
                width, height = image.size
                turned = image.getexif().get(_ORIENTATION, 1) in _TURNED
    except Image.DecompressionBombError:
        return "image of more pixels than one may have"
    except Exception:
        return "image that cannot be read"
    if width * height > max_pixels():
        return "image of more pixels than one may have"
    return (height, width) if turned else (width, height)


def content_of(path: str) -> bytes | str:
    """Read a file of labels.

    Args:
        path (str): Path of the file.

    Returns:
        bytes | str: Its content; or why it cannot be used.
    """
    try:
        if os.path.getsize(path) > MAX_BYTES:
            return f"file of labels of more than {MAX_BYTES >> 20} MiB"
        with open(path, "rb") as file:
            return file.read()
    except OSError as error:
        return f"file that cannot be read ({error.strerror})"


def iter_texts(root: str, names: list[str]) -> Iterator[tuple[str, str]]:
    """Read small text files, passing over those that are none.

    Args:
        root (str): Folder to search.
        names (list[str]): Paths below it.

    Yields:
        tuple[str, str]: Path and text.
    """
    for name in names:
        content = content_of(osp.join(root, name))
        if isinstance(content, bytes):
            yield name, content.decode("utf-8-sig", errors="replace")
