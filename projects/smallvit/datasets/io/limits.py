"""Limit on the number of pixels of an image, checked in the header before decoding.

A PNG file of 49 kB can contain 20,000 x 20,000 pixels of a single color, which take 1.2 GB in each
worker that decodes it.
"""

from __future__ import annotations

import io
import os
import re
import struct
from functools import cache

from PIL import Image

from smallvit.errors import UserError

#: Environment variable that overrides the limit, and the default limit.
VARIABLE, MAX_PIXELS = "SMALLVIT_MAX_PIXELS", 100_000_000
PNG_START, JPEG_START = b"\x89PNG\r\n\x1a\n", b"\xff\xd8"
#: JPEG start-of-frame markers, which are followed by the size; and markers without a segment.
FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
ALONE = frozenset({0x01, *range(0xD0, 0xD9)})


def too_many_pixels(content: bytes) -> str | None:
    """Check the number of pixels of an image against the limit.

    Args:
        content (bytes): Encoded image.

    Returns:
        str | None: Error message with a solution; None if the limit is not exceeded, or the
        header is not recognized.

    Raises:
        UserError: If the environment variable is not a positive integer.
    """
    size = size_of(content)
    limit = max_pixels()
    if size is None or size[0] * size[1] <= limit:
        return None
    return (
        f"{size[0]}x{size[1]} pixels in a file of {len(content)} bytes, above the limit of {limit} "
        f"pixels. To allow such images, set the environment variable "
        f"{VARIABLE}={size[0] * size[1]} or more"
    )


@cache
def max_pixels() -> int:
    """Get the limit on the number of pixels; the environment variable is read only once.

    Returns:
        int: Maximum number of pixels per image.

    Raises:
        UserError: If the environment variable is not a positive integer.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return MAX_PIXELS
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise UserError(f"{VARIABLE}={text!r}: expected a number of pixels, such as {MAX_PIXELS}")
    limit = int(text)
    if Image.MAX_IMAGE_PIXELS is not None and limit > Image.MAX_IMAGE_PIXELS:
        Image.MAX_IMAGE_PIXELS = limit  # raise Pillow's own limit as well
    return limit


def size_of(content: bytes) -> tuple[int, int] | None:
    """Read the size of an image from its header.

    Args:
        content (bytes): Encoded image.

    Returns:
        tuple[int, int] | None: Width and height as stored; None if the header cannot be parsed.
    """
    if content.startswith(PNG_START) and len(content) >= 24:
        return struct.unpack_from(">II", content, 16)
    size = _size_of_jpeg(content) if content.startswith(JPEG_START) else None
    return size or _size_by_pillow(content)


def _size_of_jpeg(content: bytes) -> tuple[int, int] | None:
    place = 2
    while True:
        place = content.find(b"\xff", place)
        if place < 0 or place + 9 > len(content):
            return None
        marker = content[place + 1]
        if marker in FRAMES:
            height, width = struct.unpack_from(">HH", content, place + 5)
            return width, height
        if marker == 0xFF:
            place += 1
        elif marker == 0 or marker in ALONE:
            place += 2
        else:
            place += 2 + struct.unpack_from(">H", content, place + 2)[0]


def _size_by_pillow(content: bytes) -> tuple[int, int] | None:
    try:
        with Image.open(io.BytesIO(content)) as image:
            return image.size
    except Image.DecompressionBombError as error:
        # The error message only contains the number of pixels.
        return int(re.search(r"\d+", str(error))[0]), 1
    except Exception:
        return None  # the decoder will report the error
