"""Image properties from file headers: size, orientation, bit depth, frames, transparency."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass

from PIL import Image

PNG_START = b"\x89PNG\r\n\x1a\n"
TIFF_STARTS = (b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
#: Offset of the bit depth in a PNG file: signature, length and type of IHDR, width and height.
_PNG_DEPTH = 24
_NETPBM = re.compile(rb"P([2356])(?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+\d+(?:\s|#[^\n]*\n)+(\d+)\s")
#: EXIF orientation tag, and TIFF tag of the bit depth.
_ORIENTATION, _BITS = 274, 258
#: Formats whose frames are pages or animation frames; frames of a phone's JPEG are previews.
_WITH_FRAMES = ("TIFF", "GIF", "WEBP", "PNG")
_WIDE_MODES = {"F": 32, "I": 32}


@dataclass(frozen=True)
class Header:
    """Image properties read from the file header.

    Args:
        shape (tuple[int, int]): Height and width as stored.
        orientation (int): EXIF orientation: 1 is upright, 3 upside down, 6 and 8 are a quarter
            turn; 2, 4, 5 and 7 are mirrored. Defaults to 1.
        bits (int): Bits per channel. Defaults to 8.
        alpha (bool): Whether the image may have transparent pixels. Defaults to False.
        frames (int): Number of pages or animation frames. Defaults to 1.
    """

    shape: tuple[int, int]
    orientation: int = 1
    bits: int = 8
    alpha: bool = False
    frames: int = 1


def read_header(content: bytes) -> Header | None:
    """Read the header of an image.

    Args:
        content (bytes): Encoded image.

    Returns:
        Header | None: Image properties; None if Pillow cannot read the header.
    """
    try:
        with Image.open(io.BytesIO(content)) as image:
            frames = getattr(image, "n_frames", 1) if image.format in _WITH_FRAMES else 1
            return Header(
                shape=(image.height, image.width),
                orientation=int(image.getexif().get(_ORIENTATION, 1)),
                bits=bits_of(content),
                alpha=image.mode in ("RGBA", "LA", "PA", "La", "RGBa")
                or "transparency" in image.info,
                frames=frames,
            )
    except Exception:
        return None


def bits_of(content: bytes) -> int:
    """Read the bit depth of an image, parsing as little of the header as possible.

    Args:
        content (bytes): Encoded image.

    Returns:
        int: Bits per channel; 8 if unknown.
    """
    if content.startswith(PNG_START):
        return max(8, content[_PNG_DEPTH]) if len(content) > _PNG_DEPTH else 8
    if content.startswith(TIFF_STARTS):
        return _bits_of_tiff(content)
    found = _NETPBM.match(content)
    if found:
        return 16 if int(found[2]) > 255 else 8
    return 8


def _bits_of_tiff(content: bytes) -> int:
    try:
        with Image.open(io.BytesIO(content)) as image:
            stored = image.tag_v2.get(_BITS, (8,))
            deepest = max(stored) if isinstance(stored, tuple) else int(stored)
            return max(8, deepest, _WIDE_MODES.get(image.mode, 8))
    except Exception:
        return 8  # the decoder will report the error
