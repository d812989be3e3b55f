"""Recognize files in formats that are not supported, so that the error can name them."""

from __future__ import annotations

import pickletools
import tarfile

#: Maximum number of bytes that are searched for the end of a pickle.
_LOOKED_AT = 64 << 20


def name_of(path: str) -> str | None:
    """Name the format of a file that has neither torch's zip format nor its legacy format.

    Args:
        path (str): Path of the file, whose content is not executed.

    Returns:
        str | None: The format and what to do about it; None if it is not recognized.
    """
    if tarfile.is_tarfile(path):
        return (
            "a tar file (torch.save before version 0.1.10) or another archive. Load it with the "
            "program that wrote it, and save its weights again with torch.save"
        )
    if _is_pickle(path):
        return (
            "a plain pickle as written by pickle.dump, which can run arbitrary code. If you trust "
            "it, read it with pickle.load in your own program, and save its weights with torch.save"
        )
    return None


def _is_pickle(path: str) -> bool:
    with open(path, "rb") as file:
        start = file.read(_LOOKED_AT)
    # Protocols from 2 on start with a marker; protocol 0 is text, which rarely parses to its end.
    try:
        opcodes = [opcode.name for opcode, _, _ in pickletools.genops(start)]
    except ValueError:
        return False
    return opcodes[-1] == "STOP" and len(opcodes) > 2
