"""Memory-mapped cache file for images of the same size.

Format: ``MAGIC``, the pixels (N, C, H, W), the original image sizes (N, 2), a JSON header and its
length. Nothing in the file is executed.
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
#: Maximum size of the header, enough for a million unreadable images.
_MAX_JSON = 256 << 20
_LENGTH = struct.Struct("<Q")


class StaleError(Exception):
    """Raised for a damaged or outdated cache file; the message is a predicate without a subject."""


@dataclass
class Header:
    """Header of a cache file.

    Args:
        shape (tuple[int, ...]): Shape (N, C, H, W) of the pixels.
        made_by (str): Digest of the dataset settings and the applied transforms.
        source (str): Digest of the source images.
        unreadable (dict[str, str]): Error messages of unreadable images, by index.
        checksum (int): CRC-32 of the pixels and sizes.
        version (int): Version of the file format.
    """

    shape: tuple[int, ...]
    made_by: str
    source: str
    unreadable: dict[str, str] = field(default_factory=dict)
    checksum: int = 0
    version: int = VERSION

    @property
    def pixels(self) -> int:
        """int: Size of the pixels in bytes."""
        return int(np.prod(self.shape, dtype=object))

    @property
    def sizes(self) -> int:
        """int: Size of the original image sizes in bytes."""
        return 8 * self.shape[0]


class Images(NamedTuple):
    """Images of the same size in memory.

    Args:
        pixels (np.ndarray): Read-only uint8 images (N, C, H, W).
        sizes (np.ndarray): int32 original height and width (N, 2) of each image.
        unreadable (dict[int, str]): Error messages of unreadable images, by index.
    """

    pixels: np.ndarray
    sizes: np.ndarray
    unreadable: dict[int, str]


def write(path: str, header: Header, pixels: Iterable[np.ndarray], sizes: np.ndarray) -> None:
    """Write a cache file atomically.

    Args:
        path (str): Path of the cache file; an existing file is replaced.
        header (Header): Header of the file; ``checksum`` is set by this function.
        pixels (Iterable[np.ndarray]): Batches of images, in order.
        sizes (np.ndarray): int32 original image sizes (N, 2); they may be filled while ``pixels``
            is consumed.
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
    """Map a cache file into memory and verify its checksum.

    Args:
        path (str): Path of the cache file.
        made_by (str): Expected digest of the settings and transforms.
        source (str): Expected digest of the source images.

    Returns:
        Images: Memory-mapped images.

    Raises:
        FileNotFoundError: If the file does not exist.
        StaleError: If the file is damaged, or its version or digests do not match.
    """
    header = _read_header(path)
    if header.made_by != made_by:
        raise StaleError("was written with other settings")
    if header.source != source:
        raise StaleError("is outdated because the images have changed")
    pixels, sizes = _map(path, header)
    if zlib.crc32(sizes, zlib.crc32(pixels)) != header.checksum:
        raise StaleError("does not match its checksum")
    unreadable = {int(index): reason for index, reason in header.unreadable.items()}
    return Images(pixels, sizes, unreadable)


def _map(path: str, header: Header) -> tuple[np.ndarray, np.ndarray]:
    # Indexing a plain array is faster than indexing an np.memmap.
    start = len(MAGIC)
    pixels = np.memmap(path, np.uint8, "r", start, tuple(header.shape)).view(np.ndarray)
    start += header.pixels
    sizes = np.memmap(path, "<i4", "r", start, (header.shape[0], 2)).view(np.ndarray)
    return pixels, sizes


def _read_header(path: str) -> Header:
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(len(MAGIC)) != MAGIC or size < len(MAGIC) + _LENGTH.size:
            raise StaleError("is not a cache file of images")
        file.seek(size - _LENGTH.size)
        (length,) = _LENGTH.unpack(file.read(_LENGTH.size))
        if length > min(_MAX_JSON, size - len(MAGIC) - _LENGTH.size):
            raise StaleError("is truncated")
        file.seek(size - _LENGTH.size - length)
        text = file.read(length)
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise StaleError("has a damaged header") from None
    header = _checked(found)
    if size != len(MAGIC) + header.pixels + header.sizes + length + _LENGTH.size:
        raise StaleError("does not have the size that its header requires")
    return header


def _checked(found: Any) -> Header:
    names = {one.name for one in fields(Header)}
    if not isinstance(found, dict) or found.keys() != names or found["version"] != VERSION:
        raise StaleError("has another format version")
    shape, unreadable = found["shape"], found["unreadable"]
    whole = isinstance(shape, list) and len(shape) == 4
    if not whole or not all(type(one) is int and 0 < one < 1 << 40 for one in shape):
        raise StaleError("has an invalid shape in its header")
    texts = isinstance(unreadable, dict) and all(
        key.isdecimal() and int(key) < shape[0] and isinstance(value, str)
        for key, value in unreadable.items()
    )
    if not texts or type(found["checksum"]) is not int:
        raise StaleError("has a damaged header")
    return Header(**{**found, "shape": tuple(shape)})
