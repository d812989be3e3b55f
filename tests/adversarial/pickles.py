"""Pickles assembled from opcodes, and the archives of torch that contain them."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path

import torch

MARK, TUPLE, REDUCE, BUILD, STOP = b"(", b"t", b"R", b"b", b"."
EMPTY_TUPLE, EMPTY_LIST, EMPTY_DICT = b")", b"]", b"}"
START = b"\x80\x02"


def text(value: str) -> bytes:
    """A string."""
    content = value.encode()
    return b"X" + struct.pack("<I", len(content)) + content


def number(value: int) -> bytes:
    """An integer."""
    if abs(value) < 1 << 31:
        return b"J" + struct.pack("<i", value)
    content = pickle.encode_long(value)
    return b"\x8a" + bytes([len(content)]) + content


def name(full: str) -> bytes:
    """A function or class."""
    module, _, own = full.rpartition(".")
    return f"c{module}\n{own}\n".encode()


def call(function: str, *args: bytes) -> bytes:
    """A function call."""
    return name(function) + MARK + b"".join(args) + TUPLE + REDUCE


def items(pairs: Mapping[str, bytes]) -> bytes:
    """A dictionary."""
    return EMPTY_DICT + MARK + b"".join(text(key) + value for key, value in pairs.items()) + b"u"


def sequence(*values: bytes) -> bytes:
    """A list."""
    return EMPTY_LIST + MARK + b"".join(values) + b"e"


def row(*values: bytes) -> bytes:
    """A tuple."""
    return MARK + b"".join(values) + TUPLE


def put(slot: int) -> bytes:
    """Memoize the last value."""
    return b"r" + struct.pack("<I", slot)


def get(slot: int) -> bytes:
    """A memoized value."""
    return b"j" + struct.pack("<I", slot)


def storage(key: str, count: int, kind: str = "torch.FloatStorage") -> bytes:
    """A tensor storage."""
    return row(text("storage"), name(kind), text(key), text("cpu"), number(count)) + b"Q"


def tensor(memory: bytes, size: tuple[int, ...], stride: tuple[int, ...], offset: int = 0) -> bytes:
    """A tensor on a storage."""
    return call(
        "torch._utils._rebuild_tensor_v2",
        memory,
        number(offset),
        row(*map(number, size)),
        row(*map(number, stride)),
        b"\x89",
        call("collections.OrderedDict"),
    )


def doubling(levels: int, kind: str = "list") -> bytes:
    """A nested value whose levels contain the previous one twice: few bytes, many values."""
    makers = {
        "list": lambda inner: sequence(inner, inner),
        "tuple": lambda inner: row(inner, inner),
        "dict": lambda inner: items({"a": inner, "b": inner}),
    }
    parts = [makers[kind](number(0)) + put(0)]
    parts += [makers[kind](get(level)) + put(level + 1) for level in range(levels)]
    return sequence(*parts)


def write_archive(
    path: Path,
    content: bytes,
    records: Mapping[str, bytes] | None = None,
    compression: int = zipfile.ZIP_STORED,
) -> None:
    """Write a checkpoint from a pickle without start and stop opcodes, and further records."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        archive.writestr("archive/data.pkl", START + content + STOP)
        archive.writestr("archive/byteorder", "little")
        for key, value in (records or {}).items():
            archive.writestr(f"archive/data/{key}", value)
        archive.writestr("archive/version", "3\n")


def write_legacy(path: Path, content: bytes) -> None:
    """Write a pickle in torch's format before 1.6, without storages."""
    whole = io.BytesIO()
    torch.save({}, whole, _use_new_zipfile_serialization=False)
    head, _, _ = whole.getvalue().partition(START + EMPTY_DICT + b"q\x00.")
    path.write_bytes(head + START + content + STOP + START + EMPTY_LIST + STOP)


def with_second_directory(path: Path, bomb: int) -> None:
    """Give an archive two central directories: Python reads a valid one, torch a bomb."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", START + EMPTY_DICT + STOP)
        archive.writestr("archive/byteorder", "little")
        archive.writestr("archive/data/0", bytes(bomb))
        archive.writestr("archive/version", "3\n")
    hostile = inner.getvalue()
    *_, count, length, start, _ = struct.unpack("<4s4H2LH", hostile[-22:])
    body = hostile[:-22]
    # The valid directory has the first two entries, and is placed right before the end.
    honest = body[start:]
    kept = honest[: honest.index(b"PK\x01\x02", honest.index(b"PK\x01\x02", 1) + 1)]

    def end_64(entries: int, size: int, place: int) -> bytes:
        fields = (b"PK\x06\x06", 44, 45, 45, 0, 0, entries, entries, size, place)
        return struct.pack("<4sQ2H2L4Q", *fields)

    first = end_64(count, length, start)
    place = len(body) + len(first)
    second = end_64(2, len(kept), place)
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, len(body), 1)
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 2, 2, len(kept), place, 0)
    path.write_bytes(body + first + kept + second + locator + end)
