"""Generators of hostile and damaged arrays, JSON, YAML and images for all entry points."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

Writer = Callable[[Path, Path], None]


class Executed:
    """Pickles as a call that creates the marker file."""

    def __init__(self, mark: Path) -> None:
        self.text = f"open({str(mark)!r}, 'w').close()"

    def __reduce__(self) -> tuple:
        return eval, (self.text,)


def _npy_of_objects(mark: Path) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([Executed(mark)], dtype=object), allow_pickle=True)
    return buffer.getvalue()


def _npy_header(text: str) -> bytes:
    content = text.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(content)) + content


def _npz(path: Path, method: int = zipfile.ZIP_STORED, **records: bytes) -> None:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in records.items():
            archive.writestr(f"{name}.npy", content)


def _npy(value: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value)
    return buffer.getvalue()


def _predictions(samples: list) -> bytes:
    head = dict(format="smallvit.predictions", version=1, task="segmentation", classes=None)
    return _npy(np.frombuffer(json.dumps({**head, "samples": samples}).encode(), np.uint8))


def _npz_bomb(path: Path, mark: Path) -> None:
    """A label map of 2 GB compressed to 2 MB."""
    header = _npy_header("{'descr': '|u1', 'fortran_order': False, 'shape': (50000, 50000), }")
    parts = {"header": _predictions([{}])}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, content in parts.items():
            archive.writestr(f"{name}.npy", content)
        with archive.open("map_0.npy", "w", force_zip64=True) as file:
            file.write(header)
            block = bytes(1 << 24)
            for _ in range(150):
                file.write(block)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return (
        struct.pack(">I", len(content))
        + kind
        + content
        + struct.pack(">I", zlib.crc32(kind + content))
    )


def _png_bomb(path: Path, mark: Path) -> None:
    """20,000 x 20,000 pixels in 49 kB."""
    head = struct.pack(">2I5B", 20_000, 20_000, 1, 0, 0, 0, 0)
    rows = zlib.compress(bytes(2501 * 20_000), 9)
    parts = (_chunk(b"IHDR", head), _chunk(b"IDAT", rows), _chunk(b"IEND", b""))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(parts))


def _half_jpeg(path: Path, mark: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    content = cv2.imencode(".jpg", noise)[1].tobytes()
    path.write_bytes(content[: len(content) // 2] + b"\xff\xd9")


def _bytes(content: bytes) -> Writer:
    return lambda path, mark: path.write_bytes(content)


def _yaml(path: Path, mark: Path) -> None:
    path.write_text(f"Models: !!python/object/apply:os.system ['touch {mark}']\n")


def _laughs(path: Path, mark: Path) -> None:
    """Ten lists, each of which contains the previous one ten times."""
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    path.write_text("\n".join([*lines, "Models: *a9", ""]))


#: Invalid data for every entry point.
DATA: dict[str, Writer] = {
    "an array of objects": lambda path, mark: path.write_bytes(_npy_of_objects(mark)),
    "arrays of objects in an archive": lambda path, mark: _npz(
        path, header=_npy_of_objects(mark), map_0=_npy_of_objects(mark)
    ),
    "a label map of objects": lambda path, mark: _npz(
        path, header=_predictions([{}]), map_0=_npy_of_objects(mark)
    ),
    "a huge array": _bytes(
        _npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (1099511627776,), }")
    ),
    "an array of negative length": _bytes(
        _npy_header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 4), }")
    ),
    "an array whose header is a program": _bytes(_npy_header("__import__('os').getcwd()")),
    "a label map that grows": _npz_bomb,
    "label maps that are not there": lambda path, mark: _npz(
        path, header=_predictions([{}] * 3), map_0=_npy(np.zeros((2, 2), "u1"))
    ),
    "deep JSON": _bytes(b"[" * 100_000),
    "deep objects": _bytes(b'{"a":' * 100_000),
    "JSON of one huge number": _bytes(b'{"version": ' + b"9" * 5000 + b"}"),
    "a list in JSON": _bytes(b"[1, 2]"),
    "JSON that is no UTF-8": _bytes(b'{"a": "\xff\xfe"}'),
    "YAML that calls": _yaml,
    "YAML that grows": _laughs,
    "a pickle of predictions": lambda path, mark: path.write_bytes(
        pickle.dumps([{"pred_label": Executed(mark)}])
    ),
    "a huge PNG": _png_bomb,
    "half a JPEG": _half_jpeg,
}
