"""Validation of the zip archives that ``torch.save`` writes."""

from __future__ import annotations

import os
import struct
import zipfile
from typing import BinaryIO

from smallvit.errors import CheckpointError

#: Maximum ratio of uncompressed size to file size; torch stores tensors uncompressed.
MAX_GROWTH = 4
_SLACK = 1 << 20
_START = b"PK\x03\x04"
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_LOCAL = struct.Struct("<4s5H3L2H")
_EXTRA_64, _ENCRYPTED = 1, 1
_UNSET_16, _UNSET_32 = 0xFFFF, 0xFFFFFFFF


def is_archive(path: str) -> bool:
    """Check from its first bytes whether torch would read a file as an archive.

    Args:
        path (str): Path of the checkpoint.

    Returns:
        bool: Whether it is an archive.
    """
    with open(path, "rb") as file:
        return file.read(4) == _START


def check_archive(path: str) -> None:
    """Refuse an archive that is ambiguous, or that expands when it is read.

    If an archive has several central directories, torch and Python use different ones. There must
    be exactly one, directly before the end as torch writes it, without gaps or overlaps.

    Args:
        path (str): Path of the checkpoint; a file that is not an archive passes.

    Raises:
        CheckpointError: If it is a zip bomb, or its structure is not that of torch's files.
    """
    if not is_archive(path):
        return
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        start, count = _directory(file, size, path)
        with zipfile.ZipFile(file) as archive:
            entries = archive.infolist()
        if len(entries) != count:
            raise CheckpointError(
                f"{path}: damaged or manipulated: expected {count} entries, got {len(entries)}"
            )
        _check_growth(path, entries, size)
        _check_names(path, entries)
        _check_places(path, file, entries, start)


def _directory(file: BinaryIO, size: int, path: str) -> tuple[int, int]:
    """Find the offset of the central directory and its number of entries."""
    end = size - _END.size
    values = _read(file, _END, end)
    if values is None or values[0] != b"PK\x05\x06" or values[7]:
        raise CheckpointError(f"{path}: damaged or not a checkpoint (no end record of an archive)")
    _, disk, first_disk, count_here, count, length, start, _ = values
    located = _read(file, _LOCATOR_64, end - _LOCATOR_64.size)
    if located is not None and located[0] == b"PK\x06\x07":
        end -= _LOCATOR_64.size + _END_64.size
        large = _read(file, _END_64, end)
        if large is None or large[0] != b"PK\x06\x06" or located[2] != end:
            raise _two_lists(path)
        small = zip(
            (count, length, start), large[7:], (_UNSET_16, _UNSET_32, _UNSET_32), strict=True
        )
        if any(given not in (meant, unset) for given, meant, unset in small):
            raise _two_lists(path)
        _, _, _, _, disk, first_disk, count_here, count, length, start = large
    if start + length != end or disk or first_disk or count_here != count:
        raise _two_lists(path)
    return start, count


def _two_lists(path: str) -> CheckpointError:
    return CheckpointError(
        f"{path}: damaged or manipulated: its directory is not directly before its end record, so "
        "programs would read different entries; not loaded"
    )


def _read(file: BinaryIO, layout: struct.Struct, place: int) -> tuple | None:
    if place < 0:
        return None
    file.seek(place)
    content = file.read(layout.size)
    return layout.unpack(content) if len(content) == layout.size else None


def _check_growth(path: str, entries: list[zipfile.ZipInfo], size: int) -> None:
    grown = sum(entry.file_size for entry in entries)
    stored = sum(entry.compress_size for entry in entries)
    if stored > size:
        raise CheckpointError(
            f"{path}: its entries overlap ({stored} bytes in a file of {size}): a zip bomb; not "
            "loaded"
        )
    if grown > MAX_GROWTH * size + _SLACK:
        raise CheckpointError(
            f"{path}: expands from {size} to {grown} bytes: a zip bomb; not loaded"
        )


def _check_names(path: str, entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.orig_filename for entry in entries]
    # torch looks up names case-insensitively, in the folder of the first entry.
    folders = {name.partition("/")[0] for name in names}
    if len({name.lower() for name in names}) < len(names) or len(folders) != 1:
        raise CheckpointError(
            f"{path}: damaged or manipulated: its entries have duplicate names or several folders"
        )
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError(f"{path}: a TorchScript program, not a checkpoint; not loaded")


def _check_places(
    path: str, file: BinaryIO, entries: list[zipfile.ZipInfo], directory: int
) -> None:
    """Check that each entry starts with its own name and ends before the next one starts."""
    end = 0
    for entry in sorted(entries, key=lambda each: each.header_offset):
        local = _read(file, _LOCAL, entry.header_offset)
        if local is None or local[0] != _START or entry.header_offset < end:
            raise CheckpointError(
                f"{path}: its entries overlap at {entry.filename}: a zip bomb; not loaded"
            )
        name = file.read(local[9])
        plain = entry.compress_type == zipfile.ZIP_STORED
        sized = not plain or entry.compress_size == entry.file_size
        known = plain or entry.compress_type == zipfile.ZIP_DEFLATED
        named = name.decode("utf-8", "replace") == entry.orig_filename == entry.filename
        if not (sized and known and named) or entry.flag_bits & _ENCRYPTED or _ambiguous(entry):
            raise CheckpointError(f"{path}: damaged or manipulated at {entry.filename}; not loaded")
        end = entry.header_offset + _LOCAL.size + local[9] + local[10] + entry.compress_size
    if end > directory:
        raise CheckpointError(f"{path}: its entries overlap its directory: a zip bomb; not loaded")


def _ambiguous(entry: zipfile.ZipInfo) -> bool:
    """Whether the sizes are given twice, so that programs may use different ones."""
    extra, found = entry.extra, 0
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        found += kind == _EXTRA_64
        extra = extra[4 + length :]
    return found > 1


def check_crcs(path: str) -> None:
    """Verify the CRCs of an archive, which torch does not check.

    Args:
        path (str): Path of a checkpoint that :func:`check_archive` accepts.

    Raises:
        CheckpointError: If an entry is damaged, or has no CRC.
    """
    if not is_archive(path):
        return
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
        if damaged is None:
            return
        absent = not any(entry.CRC for entry in archive.infolist())
    if absent:
        raise CheckpointError(
            f"{path}: written without CRCs (torch.serialization.set_crc32_options), so damage "
            "cannot be detected. Pass --no-crc to read it anyway"
        )
    raise CheckpointError(
        f"{path}: damaged, the CRC of {damaged} does not match. Use another copy or an earlier "
        "checkpoint (--no-crc reads it anyway)"
    )


def records_of(path: str) -> dict[str, int]:
    """Read the sizes of the tensor records in an archive.

    Args:
        path (str): Path of a checkpoint that :func:`check_archive` accepts.

    Returns:
        dict[str, int]: Size of each record in bytes, by its key.
    """
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    place = f"{entries[0].filename.partition('/')[0]}/data/"
    return {
        entry.filename.removeprefix(place): entry.file_size
        for entry in entries
        if entry.filename.startswith(place)
    }
