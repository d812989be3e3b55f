"""SHA-256 digests of checkpoints whose format has no checksums, in a file next to them."""

from __future__ import annotations

import hashlib
import os
import os.path as osp

from mmengine.logging import print_log

from smallvit.errors import CheckpointError
from smallvit.utils.files import remove_quietly, write_whole

#: Format of ``sha256sum``.
ENDING = ".sha256"


def file_sha256(path: str | os.PathLike) -> str:
    """Compute the SHA-256 of a file.

    Args:
        path (str | os.PathLike): Path of the file.

    Returns:
        str: The digest in hexadecimal.
    """
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def write_with_digest(path: str, content: bytes) -> None:
    """Write a file atomically, with its SHA-256 in a second file.

    Args:
        path (str): Path to write.
        content (bytes): Content of the file.
    """
    # Removed first, so that between the two writes there is no digest rather than a wrong one.
    remove_quietly(path + ENDING)
    write_whole(path, content)
    digest = hashlib.sha256(content).hexdigest()
    write_whole(path + ENDING, f"{digest}  {osp.basename(path)}\n")


def check_digest(path: str) -> None:
    """Verify the SHA-256 of a file, or log that it has none.

    Args:
        path (str): Path of the file.

    Raises:
        CheckpointError: If the digests differ.
    """
    beside = path + ENDING
    if not osp.isfile(beside):
        print_log(
            f"{path} is not verified: its format has no checksums, and there is no {beside}",
            logger="current",
        )
        return
    with open(beside, errors="replace") as file:
        stored = file.read(1024).split()
    found = file_sha256(path)
    if stored[:1] != [found]:
        raise CheckpointError(
            f"{path}: damaged, its SHA-256 is {found[:12]}..., expected "
            f"{stored[0][:12] if stored else 'none'}... as in {beside}. Use another copy, or "
            f"remove {beside} if you changed the file yourself"
        )
