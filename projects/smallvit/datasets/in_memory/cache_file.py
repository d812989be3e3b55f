"""A file of images of one size: their pixels, mapped into memory by all who read them, and what
they were made of.

It begins with ``MAGIC``, then come the pixels (N, C, H, W) and the sizes (N, 2) of the images
before they were changed, then a JSON object and its length. Nothing in it is executed.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, fields
from typing import Any, NamedTuple

import numpy as np

from smallvit.utils.files import whole_file

MAGIC = b"smallvit images\n"
VERSION = 1
SUFFIX = ".images"
#: The JSON object of a million unreadable images is smaller.
_MAX_JSON = 256 << 20
_LENGTH = struct.Struct("<Q")


class StaleError(Exception):
    """A file that cannot be used, or no longer; the message says why, to be read behind "it"."""


@dataclass
class Header:
    """What a file holds.

    Args:
        shape (tuple[int, ...]): (N, C, H, W).
        made_by (str): Digest of the data set's settings and of the steps that were applied.
        source (str): Digest of the state of the images that it was made of.
        unreadable (dict[str, str]): Why an image could not be read, by its index.
        checksum (int): CRC-32 of pixels and sizes.
        version (int): Of the format.
    """

    shape: tuple[int, ...]
    made_by: str
    source: str
    unreadable: dict[str, str] = field(default_factory=dict)
    checksum: int = 0
    version: int = VERSION

    @property
    def pixels(self) -> int:
        """Bytes of all pixels."""
        return int(np.prod(self.shape, dtype=object))

    @property
    def sizes(self) -> int:
        """Bytes of all sizes."""
        return 8 * self.shape[0]


class Images(NamedTuple):
    """Images of one size in memory.

    Args:
        pixels (np.ndarray): uint8 (N, C, H, W), not to be written to.
        sizes (np.ndarray): Height and width of each as it was read, int32 (N, 2).
        unreadable (dict[int, str]): Why an image could not be read, by its index.
    """

    pixels: np.ndarray
    sizes: np.ndarray
    unreadable: dict[int, str]


def write(path: str, header: Header, pixels: Iterable[np.ndarray], sizes: np.ndarray) -> None:
    """Write a file, whole or not at all.

    Args:
        path (str): The file; what is there is replaced.
        header (Header): What it holds; its checksum is set.
        pixels (Iterable[np.ndarray]): Parts of the pixels, in order.
        sizes (np.ndarray): Filled when all pixels were taken, int32 (N, 2).
    """
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        file.write(MAGIC)
        checksum = 0
        for part in pixels:
            part = np.ascontiguousarray(part)
            checksum = zlib.crc32(part, checksum)
            file.write(part)
        sizes = np.ascontiguousarray(sizes, dtype="<i4")
        header.checksum = zlib.crc32(sizes, checksum)
        file.write(sizes)
        text = json.dumps(asdict(header)).encode()
        file.write(text + _LENGTH.pack(len(text)))


def read(path: str, made_by: str, source: str) -> Images:
    """Map a file into memory, and compare it with its checksum.

    Args:
        path (str): Path of the file.
        made_by (str): What it must have been made by.
        source (str): What it must have been made of.

    Returns:
        Images: The images, on the disk.

    Raises:
        FileNotFoundError: If there is none.
        StaleError: If it is damaged, of another version, or made of something else.
    """
    header = _read_header(path)
    if header.made_by != made_by:
        raise StaleError("was made with other settings")
    if header.source != source:
        raise StaleError("was made of other images: they have changed since")
    pixels, sizes = _map(path, header)
    if zlib.crc32(sizes, zlib.crc32(pixels)) != header.checksum:
        raise StaleError("does not match its checksum")
    unreadable = {int(index): reason for index, reason in header.unreadable.items()}
    return Images(pixels, sizes, unreadable)


def _map(path: str, header: Header) -> tuple[np.ndarray, np.ndarray]:
    # Rows of a plain array are cheaper to take than those of a np.memmap.
    start = len(MAGIC)
    pixels = np.memmap(path, np.uint8, "r", start, tuple(header.shape)).view(np.ndarray)
    start += header.pixels
    sizes = np.memmap(path, "<i4", "r", start, (header.shape[0], 2)).view(np.ndarray)
    return pixels, sizes


def _read_header(path: str) -> Header:
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(len(MAGIC)) != MAGIC or size < len(MAGIC) + _LENGTH.size:
            raise StaleError("is no file of images, or begins with others' bytes")
        file.seek(size - _LENGTH.size)
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        if length > min(_MAX_JSON, size - len(MAGIC) - _LENGTH.size):
            raise StaleError("is cut off")
        file.seek(size - _LENGTH.size - length)
        text = file.read(length)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise StaleError("is damaged at its end") from None
    header = _checked(found)
    if size != len(MAGIC) + header.pixels + header.sizes + length + _LENGTH.size:
        raise StaleError("is not as long as it says")
    return header


def _checked(found: Any) -> Header:
    names = {one.name for one in fields(Header)}
    if not isinstance(found, dict) or found.keys() != names or found["version"] != VERSION:
        raise StaleError("is of another version")
    shape, unreadable = found["shape"], found["unreadable"]
    whole = isinstance(shape, list) and len(shape) == 4
    if not whole or not all(type(one) is int and 0 < one < 1 << 40 for one in shape):
        raise StaleError("has no shape that images could have")
    texts = isinstance(unreadable, dict) and all(
        key.isdecimal() and int(key) < shape[0] and isinstance(value, str)
        for key, value in unreadable.items()
    )
    if not texts or type(found["checksum"]) is not int:
        raise StaleError("is damaged at its end")
    return Header(**{**found, "shape": tuple(shape)})
