"""Detection of damaged images from decoder warnings.

libjpeg fills unreadable data with gray, or continues at a wrong position, and prints a warning to
the standard error stream; OpenCV returns the image as if it were intact, and Pillow
discards the warning. The stream is therefore captured while OpenCV decodes, which takes 4
microseconds. Messages of libtiff are available from OpenCV 5; OpenCV 4.11 discards them too.
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
#: Warnings of libjpeg and libtiff about unreadable data. Other messages, such as libpng's about
#: color profiles, do not indicate damage.
DAMAGE = re.compile(
    r"Corrupt JPEG data: .*|Premature end of JPEG file.*|Inconsistent progression sequence.*"
    r"|Invalid SOS parameters for sequential JPEG.*|TIFF_Error .*"
)
#: Signatures of formats whose decoders print a warning and continue.
STARTS = (b"\xff\xd8\xff", b"II*\x00", b"MM\x00*", b"II+\x00", b"MM\x00+")
#: Environment variable that determines whether damaged images are accepted or refused.
VARIABLE = "SMALLVIT_DAMAGED_IMAGES"


def decode_watched(
    content: bytes, decode: Callable[[], T], speaks: bool = True
) -> tuple[T, str | None]:
    """Decode an image and capture the warnings of the decoder.

    Args:
        content (bytes): Encoded image.
        decode (Callable): Function without arguments that decodes the image.
        speaks (bool): Whether ``decode`` prints warnings to the standard error stream, as
            OpenCV does. Otherwise, the image is also decoded by OpenCV. Defaults to True.

    Returns:
        tuple: Decoded image, and a description of the damage; None if the image is intact.
    """
    if not speaks:
        return decode(), complaint(content)
    if not _can_complain(content):
        return decode(), None
    image, said = _stream.listen(decode)
    return image, _explain(said)


def complaint(content: bytes) -> str | None:
    """Check an image for damage without returning the decoded image.

    The whole image is decoded at an eighth of its resolution, which is the fastest option.

    Args:
        content (bytes): Encoded image.

    Returns:
        str | None: Description of the damage; None if the image is intact.
    """
    if not _can_complain(content):
        return None
    _, said = _stream.listen(lambda: _skim(content))
    return _explain(said)


def _can_complain(content: bytes) -> bool:
    return content.startswith(STARTS) and refuses_damage()


@cache
def refuses_damage() -> bool:
    """Check whether damaged images are rejected; the environment variable is read only once.

    Returns:
        bool: False if the environment variable is "accept".

    Raises:
        UserError: If the environment variable is neither "accept" nor "refuse".
    """
    wish = os.environ.get(VARIABLE, "refuse")
    if wish not in ("accept", "refuse"):
        raise UserError(f"{VARIABLE}={wish!r}: expected 'accept' or 'refuse'")
    return wish == "refuse"


def _skim(content: bytes) -> None:
    try:
        cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_REDUCED_GRAYSCALE_8)
    except cv2.error:
        return  # not decodable by OpenCV; handled by another decoder


def _explain(said: str | None) -> str | None:
    if said is None:
        return None
    return (
        f"damaged: {said}. To use the image anyway, save it again, or set the environment variable "
        f"{VARIABLE}=accept"
    )


class _ErrorStream:
    """Captures the standard error stream of the process while a decoder runs."""

    def __init__(self) -> None:
        self._forget()
        if hasattr(os, "register_at_fork"):
            # After a fork, the file and the lock must not be shared with the parent.
            os.register_at_fork(after_in_child=self._forget)

    def _forget(self) -> None:
        self._lock, self._file = threading.Lock(), None

    def listen(self, call: Callable[[], T]) -> tuple[T, str | None]:
        with self._lock:
            try:
                own = os.dup(2)
            except OSError:
                return call(), None  # the process has no standard error stream
            try:
                if self._file is None:
                    self._file = tempfile.TemporaryFile()  # noqa: SIM115 kept open and reused
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
