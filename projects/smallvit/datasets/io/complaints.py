"""What an image decoder says of a damaged file, and returns none the less.

libjpeg fills what it cannot read with gray, or goes on in a wrong place, and warns on the
standard error stream; OpenCV hands on the picture as if it were whole, and Pillow drops the
warning. The stream is therefore caught while OpenCV decodes, which takes 4 microseconds. What
libtiff says is heard from OpenCV 5; OpenCV 4.11 drops it as well.
"""

from __future__ import annotations

import os
import re
import sys
import tempfile
import threading
from collections.abc import Callable
from functools import cache
from typing import TypeVar

import cv2
import numpy as np

from smallvit.errors import UserError

T = TypeVar("T")
#: What libjpeg and libtiff write about data that they could not read. Other lines, such as
#: libpng's about color profiles, are no damage.
DAMAGE = re.compile(
    r"Corrupt JPEG data: .*|Premature end of JPEG file.*|Inconsistent progression sequence.*"
    r"|Invalid SOS parameters for sequential JPEG.*|TIFF_Error .*"
)
#: Formats whose libraries complain and go on.
STARTS = (b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
#: The environment variable that lets damaged pictures pass.
VARIABLE = "SMALLVIT_DAMAGED_IMAGES"


def decode_watched(
    content: bytes, decode: Callable[[], T], speaks: bool = True
) -> tuple[T, str | None]:
    """Decode an image, and hear what its library says.

    Args:
        content (bytes): Content of the file.
        decode (Callable): Decodes it.
        speaks (bool): Whether what ``decode`` calls writes its complaints to the standard
            error stream, as OpenCV does. Without it OpenCV looks at the file too. Defaults to
            True.

    Returns:
        tuple: The image, and a sentence about damage, or None.
    """
    if not speaks:
        return decode(), complaint(content)
    if not _can_complain(content):
        return decode(), None
    image, said = _stream.listen(decode)
    return image, _explain(said)


def complaint(content: bytes) -> str | None:
    """Hear what is said of an image, without keeping it.

    All of its data are read, at an eighth of its size, which is the cheapest way.

    Args:
        content (bytes): Content of the file.

    Returns:
        str | None: A sentence about damage, or None.
    """
    if not _can_complain(content):
        return None
    _, said = _stream.listen(lambda: _skim(content))
    return _explain(said)


def _can_complain(content: bytes) -> bool:
    return content.startswith(STARTS) and refuses_damage()


@cache
def refuses_damage() -> bool:
    """Tell whether damage is refused, which is read from the environment once.

    Returns:
        bool: False if the environment says to accept it.

    Raises:
        UserError: If the environment says something else.
    """
    wish = os.environ.get(VARIABLE, "refuse")
    if wish not in ("accept", "refuse"):
        raise UserError(f"{VARIABLE}={wish!r}: expected 'accept' or 'refuse'")
    return wish == "refuse"


def _skim(content: bytes) -> None:
    try:
        cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    except cv2.error:
        return  # a decoder that can read it decides


def _explain(said: str | None) -> str | None:
    if said is None:
        return None
    return (
        f"damaged: {said}; if the picture is good enough, save it anew, or set the "
        f"environment variable {VARIABLE}=accept"
    )


class _ErrorStream:
    """The standard error stream of the process, caught for as long as a decoder runs."""

    def __init__(self) -> None:
        self._forget()
        if hasattr(os, "register_at_fork"):
            # A file or a lock that is shared with the parent would mix up both.
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock, self._file = threading.Lock(), None

    def listen(self, call: Callable[[], T]) -> tuple[T, str | None]:
        with self._lock:
            try:
                own = os.dup(2)
            except OSError:
                return call(), None  # a process without the stream
            try:
                if self._file is None:
                    self._file = tempfile.TemporaryFile()  # noqa: SIM115 kept as long as we are
                place = self._file.fileno()
                os.dup2(place, 2)
                try:
                    result = call()
                finally:
                    os.dup2(own, 2)
                    said = self._take(place)
            finally:
                os.close(own)
        return result, said

    @staticmethod
    def _take(place: int) -> str | None:
        length = os.lseek(place, 0, os.SEEK_CUR)
        if not length:
            return None
        text = os.pread(place, length, 0).decode(errors="replace")
        os.ftruncate(place, 0)
        os.lseek(place, 0, os.SEEK_SET)
        found = [match[0] for match in DAMAGE.finditer(text)]
        others = [line for line in text.splitlines() if not DAMAGE.search(line)]
        if others:
            print(*others, sep="\n", file=sys.stderr, flush=True)
        return found[0].strip() if found else None


_stream = _ErrorStream()
