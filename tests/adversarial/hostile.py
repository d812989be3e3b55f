"""Generators of hostile and damaged checkpoints for all entry points."""

from __future__ import annotations

import io
import os
import pickle
import random
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from adversarial.hostile_data import DATA
from adversarial.pickles import (
    BUILD,
    call,
    doubling,
    get,
    items,
    name,
    number,
    put,
    row,
    sequence,
    storage,
    tensor,
    text,
    with_second_directory,
    write_archive,
    write_legacy,
)

#: Writes a file; called with its path, and the path of a file that is created if code is executed.
Writer = Callable[[Path, Path], None]


class Call:
    """Pickles as a function call."""

    def __init__(self, function: Callable, *args: Any) -> None:
        self.call = function, args

    def __call__(self) -> None:
        """Make instances callable: pickle only accepts callables as functions."""

    def __reduce__(self) -> tuple:
        return self.call


def hostile_objects(mark: Path) -> dict[str, Any]:
    """Objects that create a file when they are executed."""
    touch = f"open({str(mark)!r}, 'w').close()"
    shell = f"touch {mark}"
    return {
        "os.system": Call(os.system, shell),
        "eval": Call(eval, touch),
        "exec": Call(exec, touch),
        "nested": Call(dict, [("a", Call(list, (Call(eval, touch),)))]),
        "getattr": Call(Call(getattr, Call(__import__, "os"), "system"), shell),
        "in the weights": {"state_dict": {"weight": Call(os.system, shell)}},
        "in the histories": {"message_hub": {"log_scalars": {"loss": Call(eval, touch)}}},
        "popen": Call(os.popen, shell),
        "unpickler": Call(pickle.loads, pickle.dumps(Call(eval, touch))),
        "torch's own loader": Call(torch.load, io.BytesIO(pickle.dumps(Call(eval, touch)))),
        "torch.hub": Call(torch.hub.load, str(mark.parent), "x"),
    }


def _objects(kind: str) -> dict[str, Writer]:
    def writer(label: str) -> Writer:
        def write(path: Path, mark: Path) -> None:
            write_object(path, hostile_objects(mark)[label], kind)

        return write

    return {f"{label}, {kind}": writer(label) for label in hostile_objects(Path("x"))}


def write_object(path: Path, value: Any, kind: str) -> None:
    """Write an object in torch's format, its format before 1.6, or as a plain pickle."""
    if kind == "zip":
        torch.save(value, path)
    elif kind == "legacy":
        torch.save(value, path, _use_new_zipfile_serialization=False)
    else:
        path.write_bytes(pickle.dumps(value, protocol=int(kind.removeprefix("protocol "))))


def _pickle(content: bytes, **records: bytes) -> Writer:
    return lambda path, mark: write_archive(path, content, records)


def _old_pickle(content: bytes) -> Writer:
    return lambda path, mark: write_legacy(path, content)


_FOUR = bytes(16)
_REBUILD = "torch._utils._rebuild_tensor_v2"
_HISTORY = "mmengine.logging.history_buffer.HistoryBuffer"
_DEFAULTS = row(b"N", items({"__defaults__": row(b"\x88", b"N", b"N")}))
_LONG_LIST = sequence(*[number(n) for n in range(5000)])


def _nested(levels: int) -> bytes:
    """Nested lists, with one opcode to open and one APPEND to close each."""
    return b"]" * levels + b"N" + b"a" * levels


def _encoded(times: int) -> bytes:
    value = call("_codecs.encode", text("ab" * 1000), text("latin1"))
    for _ in range(times):
        value = call("_codecs.encode", value, text("hex"))
    return value


def _colliding(count: int) -> bytes:
    prime = (1 << 61) - 1
    pairs = b"".join(number(n * prime) + b"N" for n in range(1, count))
    return b"}(" + pairs + b"u"


#: Small files that are expensive to read.
BOMBS: dict[str, Writer] = {
    **{
        f"{levels} doublings of a {kind}": _pickle(items({"a": doubling(levels, kind)}))
        for kind in ("list", "tuple", "dict")
        for levels in (25, 40)
    },
    "doublings, legacy": _old_pickle(items({"a": doubling(40)})),
    "doublings in a state dict": _pickle(
        items({"state_dict": doubling(40, "dict"), "meta": b"}", "message_hub": b"}"})
    ),
    "a list that holds itself": _pickle(b"]" + put(0) + get(0) + b"a"),
    "a dictionary that holds itself": _pickle(b"}" + put(0) + text("a") + get(0) + b"s"),
    "lists, 500 deep": _pickle(_nested(500)),
    "lists, 20000 deep": _pickle(_nested(20_000)),
    "lists, 20000 deep, legacy": _old_pickle(_nested(20_000)),
    "hex of hex": _pickle(_encoded(60)),
    "a huge bytearray": _pickle(call("__builtin__.bytearray", number(1 << 45))),
    "a huge storage": _pickle(call("torch.storage.UntypedStorage", number(1 << 45))),
    "a huge tensor": _pickle(call("torch.FloatTensor", number(1 << 45))),
    "a tensor copied from one element": _pickle(
        call(
            "torch._utils._rebuild_device_tensor_from_cpu_tensor",
            tensor(storage("0", 4), (1 << 40,), (0,)),
            name("torch.float64"),
            text("cpu"),
            b"\x89",
        ),
        **{"0": _FOUR},
    ),
    "a tensor of one element, everywhere": _pickle(
        items({"a": tensor(storage("0", 4), (1 << 40,), (0,))}), **{"0": _FOUR}
    ),
    "the same set again and again": _pickle(
        _LONG_LIST
        + put(0)
        + sequence(*[name("__builtin__.set") + get(0) + b"\x85R" for _ in range(3000)])
        + b"\x86"
    ),
    "keys that collide": _pickle(_colliding(30_000)),
    "set_ on a tensor": _pickle(
        tensor(storage("0", 4), (4,), (1,))
        + row(storage("0", 4), number(0), row(number(1 << 30)), row(number(1)))
        + BUILD,
        **{"0": _FOUR},
    ),
}
#: Pickles that modify other objects or read out of bounds, using only functions that torch allows.
REACHING: dict[str, Writer] = {
    "changes how tensors are read": _pickle(name(_REBUILD) + _DEFAULTS + BUILD),
    "changes how tensors are read, legacy": _old_pickle(name(_REBUILD) + _DEFAULTS + BUILD),
    "changes how tensors are read, with histories": _pickle(
        items({"h": name(_HISTORY) + b")\x81" + items({}) + BUILD})
        + name(_REBUILD)
        + _DEFAULTS
        + BUILD
        + b"\x86"
    ),
    "changes a stand-in": _pickle(
        name(_HISTORY) + row(b"N", items({"plain": text("x"), "__setstate__": b"N"})) + BUILD
    ),
    "changes getattr": _pickle(name("__builtin__.getattr") + _DEFAULTS + BUILD),
    "changes a class": _pickle(name("collections.OrderedDict") + _DEFAULTS + BUILD),
    "hides a state dict's methods": _pickle(
        items({"state_dict": call("collections.OrderedDict") + items({"items": b"N"}) + BUILD})
    ),
    "a function as a value": _pickle(items({"state_dict": items({"w": name(_REBUILD)})})),
    "a storage beyond its record": _pickle(
        items({"a": tensor(storage("0", 1 << 28), (1 << 28,), (1,))}), **{"0": _FOUR}
    ),
    "a tensor beyond its storage": _pickle(
        items({"a": tensor(storage("0", 4), (1 << 20,), (1,))}), **{"0": _FOUR}
    ),
    "a tensor before its storage": _pickle(
        items({"a": tensor(storage("0", 4), (1,), (1,), offset=-64)}), **{"0": _FOUR}
    ),
    "a record that is not there": _pickle(
        items({"a": tensor(storage("../../../etc/passwd", 4), (4,), (1,))}), **{"0": _FOUR}
    ),
    "a module in place of a storage": _pickle(
        row(text("module"), name("torch.nn.Linear"), text("f"), text("s"), number(1)) + b"Q"
    ),
}


def _deflated_bomb(path: Path, mark: Path) -> None:
    write_archive(path, b"}", {"0": bytes(32 << 20)}, zipfile.ZIP_DEFLATED)


def _overlapping(path: Path, mark: Path) -> None:
    """Many entries that share one stored block, so that the total size grows but not the file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("bomb/data/0", bytes(1 << 16))
        first = archive.infolist()[0]
        for count in range(1, 50):
            copy = zipfile.ZipInfo(f"bomb/data/{count}")
            for key in ("header_offset", "CRC", "compress_size", "file_size"):
                setattr(copy, key, getattr(first, key))
            archive.filelist.append(copy)
            archive.NameToInfo[copy.filename] = copy
    path.write_bytes(buffer.getvalue())


def _pickle_before_an_archive(path: Path, mark: Path) -> None:
    """A file that Python reads as an archive, and torch as its format before 1.6."""
    write_object(path, hostile_objects(mark)["os.system"], "legacy")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02}.")
    path.write_bytes(path.read_bytes() + buffer.getvalue())


def _two_names(path: Path, mark: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/DATA.PKL", b"\x80\x02}.")
        archive.writestr("archive/data.pkl", pickle.dumps(hostile_objects(mark)["eval"], 2))
        archive.writestr("archive/version", "3\n")


def _with_comment(path: Path, mark: Path) -> None:
    write_archive(path, b"}")
    content = path.read_bytes()
    path.write_bytes(content[:-2] + struct.pack("<H", 22) + content[-22:])


#: Archives that torch would not write.
ARCHIVES: dict[str, Writer] = {
    "a deflated bomb": _deflated_bomb,
    "overlapping entries": _overlapping,
    "two lists of entries": lambda path, mark: with_second_directory(path, 200_000_000),
    "a pickle before an archive": _pickle_before_an_archive,
    "one name in two cases": _two_names,
    "an archive after its end": _with_comment,
    "TorchScript": lambda path, mark: torch.jit.script(torch.nn.Linear(1, 1)).save(str(path)),
}


def flip_a_bit(path: Path, seed: int = 0) -> None:
    """Flip one bit of a tensor in an archive, or in the second half of another file."""
    content = bytearray(path.read_bytes())
    place = len(content) * 3 // 4
    if content[:2] == b"PK":
        with zipfile.ZipFile(path) as archive:
            entry = next(each for each in archive.infolist() if "/data/" in each.filename)
        head = struct.unpack_from("<2H", content, entry.header_offset + 26)
        place = entry.header_offset + 30 + sum(head)
        place += random.Random(seed).randrange(entry.file_size)
    content[place] ^= 1 << random.Random(seed).randrange(8)
    path.write_bytes(content)


def _flipped(path: Path, mark: Path) -> None:
    weights = {"w": torch.arange(1000.0)}
    torch.save({"state_dict": weights, "meta": {"epoch": 1, "iter": 1}, "message_hub": {}}, path)
    flip_a_bit(path)


def _cut(part: float) -> Writer:
    def write(path: Path, mark: Path) -> None:
        torch.save({"state_dict": {"w": torch.arange(1000.0)}}, path)
        content = path.read_bytes()
        path.write_bytes(content[: int(part * len(content))])

    return write


DAMAGED: dict[str, Writer] = {
    "a flipped bit": _flipped,
    **{f"cut at {part}": _cut(part) for part in (0, 0.1, 0.5, 0.999)},
    "a text": lambda path, mark: path.write_bytes(b"not a checkpoint"),
    "the begin of a pickle": lambda path, mark: path.write_bytes(b"\x80\x04\x95"),
}

#: Files that no entry point may load.
REFUSED: dict[str, Writer] = {
    **_objects("zip"),
    **_objects("legacy"),
    **_objects("protocol 2"),
    **_objects("protocol 4"),
    **BOMBS,
    **REACHING,
    **ARCHIVES,
    **DAMAGED,
    **DATA,
}
