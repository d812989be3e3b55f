"""Detection of files in a data folder that a dataset ignores, by reason."""

from __future__ import annotations

import os
import os.path as osp
import time
from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass, field

#: File name extensions of image formats, including formats that some datasets do not support.
IMAGE_ENDINGS = frozenset(
    {
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".pjpeg", ".pjp", ".png", ".apng", ".bmp", ".dib"),
        *(".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".tga", ".npy"),
        *(".jp2", ".j2k", ".jpx", ".jxl", ".heic", ".heif", ".avif", ".hdr", ".exr", ".dcm"),
        *(".svs", ".ndpi", ".raw", ".dng", ".cr2", ".nef", ".arw"),
    }
)
BROKEN_LINK = "broken links"
NO_ENDING = "files without an extension"
LOOSE = "images outside of the class folders"
UNLISTED = "images that are not in the annotation file"
#: Maximum number of file names shown per reason.
SHOWN = 3


@dataclass
class LeftOut:
    """Ignored files by reason.

    Args:
        by_reason (dict[str, list[str]]): Paths of the first ignored files, by reason.
        counts (dict[str, int]): Number of ignored files, by reason.
        complete (bool): Whether all files were inspected within the time limit. Defaults to True.
    """

    by_reason: dict[str, list[str]] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    complete: bool = True

    def add(self, reason: str, path: str) -> None:
        """Add an ignored file.

        Args:
            reason (str): Reason why the file is ignored.
            path (str): Path of the file.
        """
        self.counts[reason] = self.counts.get(reason, 0) + 1
        if self.counts[reason] <= SHOWN:
            self.by_reason.setdefault(reason, []).append(path)

    @property
    def images(self) -> int:
        """int: Number of ignored files that are probably images."""
        return sum(number for reason, number in self.counts.items() if is_image(reason))

    def text(self) -> str:
        """Format the ignored files for a message.

        Returns:
            str: Number of files and first paths per reason.
        """
        parts = [
            f"{number} {reason} ({', '.join(self.by_reason[reason])}"
            f"{', ...' if number > SHOWN else ''})"
            for reason, number in sorted(self.counts.items(), key=lambda item: -item[1])
        ]
        return ", ".join(parts)


def is_image(reason: str) -> bool:
    """Check whether the files ignored for a given reason are probably images.

    Args:
        reason (str): Key of ``LeftOut.counts``, often a file name extension.

    Returns:
        bool: False for extensions of other files, such as text files.
    """
    return reason in (BROKEN_LINK, LOOSE) or reason.partition(" ")[0].lower() in IMAGE_ENDINGS


def files_left_out(
    folder: str,
    endings: Sequence[str],
    in_class_folders: bool = False,
    match_case: bool = False,
    seconds: float = float("inf"),
) -> LeftOut:
    """Find the files of a folder that a dataset ignores.

    Hidden files and folders (names that start with a dot) are skipped.

    Args:
        folder (str): Local folder; the result is empty for other locations.
        endings (Sequence[str]): File name extensions that the dataset reads.
        in_class_folders (bool): Whether the dataset reads only subfolders, so that images directly
            in the folder are ignored. Defaults to False.
        match_case (bool): Whether extensions are case-sensitive. Defaults to False.
        seconds (float): Time limit of the search in seconds. Defaults to infinity.

    Returns:
        LeftOut: Ignored files by reason.
    """
    found = LeftOut()
    ends, until = tuple(endings), time.monotonic() + seconds
    if not osp.isdir(folder):
        return found
    for place, entry in _files(folder, ""):
        if time.monotonic() > until:
            found.complete = False
            break
        name = entry.name if match_case else entry.name.lower()
        read = name.endswith(ends)
        if entry.is_symlink() and not osp.exists(entry.path):
            if read or osp.splitext(name)[1].lower() in IMAGE_ENDINGS:
                found.add(BROKEN_LINK, entry.path)
        elif not read:
            found.add(osp.splitext(entry.name)[1] or NO_ENDING, entry.path)
        elif in_class_folders and not place:
            found.add(LOOSE, entry.path)
    return found


def unlisted_images(folder: str, listed: Container[str], seconds: float) -> LeftOut:
    """Find the images of a folder that are not in an annotation file.

    Args:
        folder (str): Local folder; the result is empty for other locations.
        listed (Container[str]): Listed paths relative to the folder, with ``/`` as separator.
        seconds (float): Time limit of the search in seconds.

    Returns:
        LeftOut: Unlisted images.
    """
    found, until = LeftOut(), time.monotonic() + seconds
    for place, entry in _files(folder, "") if osp.isdir(folder) else ():
        if time.monotonic() > until:
            found.complete = False
            break
        is_listed = f"{place}/{entry.name}".lstrip("/") in listed
        if not is_listed and osp.splitext(entry.name)[1].lower() in IMAGE_ENDINGS:
            found.add(UNLISTED, entry.path)
    return found


def _files(folder: str, place: str) -> Iterator[tuple[str, os.DirEntry]]:
    """Yield the relative folder and entry of each file, following links as datasets do."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda one: one.name):
            if entry.name.startswith("."):
                continue
            if entry.is_dir():
                yield from _files(entry.path, f"{place}/{entry.name}")
            else:
                yield place, entry
