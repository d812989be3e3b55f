"""Scan a checkpoint's pickle without building objects, and refuse malicious content.

A pickle of a few hundred bytes can request more memory than is available, nest lists until a copy
never ends, or replace the functions that read later checkpoints. All instructions are therefore
first interpreted on shadows of the values.
"""

from __future__ import annotations

import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

from smallvit.engine.checkpoint.pickle_names import (
    ITEM_SIZES,
    call,
    is_dtype,
    is_known,
)
from smallvit.engine.checkpoint.shadows import (
    MAX_SHARING,
    SLACK,
    Name,
    Refused,
    Shadow,
    Storage,
    Tuple,
    measure,
)

#: Maximum excess of tensor bytes over stored bytes, which expanded tensors have.
SLACK_BYTES = 64 << 20
#: Keys whose hashes can be made to collide: large integers, floats and tuples.
MAX_ODD_KEYS = 1000
#: Kinds of objects whose state the BUILD opcode may set.
_BUILT = ("history", "dtype", "array", "OrderedDict")
_HISTORY = "mmengine.logging.history_buffer.HistoryBuffer"


def scan(file: BinaryIO, size: int, records: Mapping[str, int] | None = None) -> set[str]:
    """Scan a pickle up to its end.

    Args:
        file (BinaryIO): The pickle; data after its end is not read.
        size (int): Size of the whole checkpoint in bytes.
        records (Mapping[str, int], optional): Size in bytes of each tensor record of an archive,
            by its key. Defaults to None: together they must fit into ``size``.

    Returns:
        set[str]: Functions and classes that the pickle refers to.

    Raises:
        Refused: If it does something that the pickle of a checkpoint never does.
    """
    machine = _Machine(size, records)
    for opcode, argument, _ in pickletools.genops(file):
        if opcode.name not in _OPCODES:
            raise Refused(f"contains the instruction {opcode.name}, which torch does not write")
        machine.steps += 1
        _OPCODES[opcode.name](machine, argument)
    unknown = sorted(name for name in machine.names if not is_known(name))
    if unknown:
        raise Refused(f"contains {', '.join(unknown[:4])}, not only tensors and plain values")
    machine.check_amounts()
    return machine.names


class _Machine:
    def __init__(self, size: int, records: Mapping[str, int] | None) -> None:
        self.size, self.records = size, records
        self.names: set[str] = set()
        self.stack: list[Any] = []
        self.marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self.storages: dict[Any, int] = {}
        self.steps = self.work = self.odd_keys = 0

    def check_amounts(self) -> None:
        values, size = measure(self.stack[-1], is_dtype)
        if max(values, self.work) > MAX_SHARING * self.steps + SLACK:
            raise Refused(f"expands to {max(values, self.work):.1e} values: a pickle bomb")
        if size > MAX_SHARING * self.size + SLACK_BYTES:
            raise Refused(f"has tensors of {size} bytes in a file of {self.size}")
        if self.records is None and sum(self.storages.values()) > self.size:
            raise Refused("has tensors larger than their storage")
        if self.odd_keys > MAX_ODD_KEYS:
            raise Refused(f"has {self.odd_keys} keys that are neither strings nor small integers")

    def pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def charge(self, *values: Any) -> None:
        """Count the values that a call visits, as the same argument may be passed repeatedly."""
        for value in values:
            if isinstance(value, Tuple):
                self.charge(*(item for item in value.items if not isinstance(item, Tuple)))
            if isinstance(value, Shadow):
                self.work += value.count
            elif isinstance(value, (str, bytes)):
                self.work += len(value) >> 6


def full_name(argument: str) -> str:
    """Convert the argument of the GLOBAL opcode to a qualified name.

    Args:
        argument (str): Module and name. Protocol 2, which torch writes, uses Python 2's names.

    Returns:
        str: Python 3's name, with a dot between module and name.
    """
    module, _, name = argument.partition(" ")
    module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
    return f"{module}.{name}"


def _global(machine: _Machine, argument: str) -> None:
    name = full_name(argument)
    machine.names.add(name)
    machine.stack.append(Name(name))


def _reduce(machine: _Machine, _: None) -> None:
    args, function = machine.stack.pop(), machine.stack.pop()
    if not isinstance(args, Tuple) or not isinstance(function, Name):
        raise Refused("calls an object that is not a function")
    machine.charge(args)
    known = is_known(function)
    machine.stack.append(call(function, args) if known else Shadow("unknown"))


def _new(machine: _Machine, _: None) -> None:
    args, kind = machine.stack.pop(), machine.stack.pop()
    if isinstance(kind, Name) and not is_known(kind):
        machine.stack.append(Shadow("unknown"))
    elif kind == _HISTORY and isinstance(args, Tuple) and not args.items:
        machine.stack.append(Shadow("history"))
    else:
        raise Refused(f"creates an object of {kind if isinstance(kind, Name) else 'no class'}")


def _build(machine: _Machine, _: None) -> None:
    state, target = machine.stack.pop(), machine.stack[-1]
    kind = target.kind if isinstance(target, Shadow) else None
    if kind not in (*_BUILT, "unknown"):
        named = target if isinstance(target, Name) else kind or type(target).__name__
        raise Refused(f"modifies {named}, which torch does not")
    if not isinstance(state, Shadow):
        raise Refused(f"sets the state of {kind} to a plain value")
    # State dicts set versions; other attributes could replace methods of the OrderedDict.
    if kind == "OrderedDict" and state.keys != ["_metadata"]:
        raise Refused("sets attributes of an OrderedDict")
    machine.charge(state)
    target.add([state])


def _persistent(machine: _Machine, _: None) -> None:
    reference = machine.stack.pop()
    items = reference.items if isinstance(reference, Tuple) else ()
    if len(items) not in (5, 6) or items[0] not in ("storage", b"storage"):
        raise Refused("has a persistent id that is not a storage")
    _, kind, key, _, count = items[:5]
    item = ITEM_SIZES.get(kind) if isinstance(kind, Name) else None
    if item is None or type(count) is not int or count < 0:
        raise Refused(f"has a storage of {str(count)[:20]} elements of {str(kind)[:40]}")
    stored = count * item
    if machine.records is not None and machine.records.get(key) != stored:
        found = machine.records.get(key, "none")
        raise Refused(f"has a storage of {stored} bytes, but its record has {found}")
    machine.storages[key] = max(stored, machine.storages.get(key, 0))
    machine.stack.append(Storage(stored, item))


def _check_keys(machine: _Machine, keys: list[Any]) -> None:
    for key in keys:
        if isinstance(key, (str, bytes)) or key is None:
            continue
        if not isinstance(key, int) or abs(key) >> 31:
            machine.odd_keys += 1


def _append(machine: _Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    if not isinstance(target, Shadow) or target.kind not in ("list", "unknown"):
        raise Refused("appends to an object that is not a list")
    target.add(values)


def _set_items(machine: _Machine, values: list[Any]) -> None:
    target = machine.stack[-1]
    kinds = ("dict", "OrderedDict", "counter", "unknown")
    if not isinstance(target, Shadow) or target.kind not in kinds:
        raise Refused("sets keys of an object that is not a dict")
    keys = values[::2]
    _check_keys(machine, keys)
    target.keys += keys
    target.add(values)


def _mark(machine: _Machine, _: None) -> None:
    machine.marks.append(machine.stack)
    machine.stack = []


def _take(count: int) -> Callable[[_Machine, None], None]:
    def make(machine: _Machine, _: None) -> None:
        items = machine.stack[-count:]
        if len(items) < count:
            raise IndexError("the pickle's stack is empty")
        machine.stack[-count:] = [Tuple(tuple(items))]

    return make


def _take_marked(machine: _Machine, _: None) -> None:
    items = machine.pop_mark()  # changes the stack, so it comes first
    machine.stack.append(Tuple(tuple(items)))


def _put(machine: _Machine, number: int) -> None:
    machine.memo[number] = machine.stack[-1]


def _plain(machine: _Machine, value: Any) -> None:
    machine.stack.append(value)


def _constant(value: Any) -> Callable[[_Machine, None], None]:
    return lambda machine, _: machine.stack.append(value)


def _empty(kind: str) -> Callable[[_Machine, None], None]:
    return lambda machine, _: machine.stack.append(Shadow(kind))


def _nothing(machine: _Machine, _: Any) -> None:
    """Handle PROTO and STOP, which change nothing."""


def _pop_pair(machine: _Machine) -> list[Any]:
    value, key = machine.stack.pop(), machine.stack.pop()
    return [key, value]


_OPCODES: dict[str, Callable[[_Machine, Any], None]] = {
    "PROTO": _nothing,
    "STOP": _nothing,
    "GLOBAL": _global,
    "REDUCE": _reduce,
    "NEWOBJ": _new,
    "BUILD": _build,
    "BINPERSID": _persistent,
    "MARK": _mark,
    "APPEND": lambda machine, _: _append(machine, [machine.stack.pop()]),
    "APPENDS": lambda machine, _: _append(machine, machine.pop_mark()),
    "SETITEM": lambda machine, _: _set_items(machine, _pop_pair(machine)),
    "SETITEMS": lambda machine, _: _set_items(machine, machine.pop_mark()),
    "TUPLE": _take_marked,
    "TUPLE1": _take(1),
    "TUPLE2": _take(2),
    "TUPLE3": _take(3),
    "EMPTY_TUPLE": lambda machine, _: machine.stack.append(Tuple(())),
    "EMPTY_LIST": _empty("list"),
    "EMPTY_DICT": _empty("dict"),
    "EMPTY_SET": _empty("set"),
    "NONE": _constant(None),
    "NEWTRUE": _constant(True),
    "NEWFALSE": _constant(False),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "BINFLOAT", "LONG1"), _plain),
    **dict.fromkeys(("BINUNICODE", "SHORT_BINSTRING"), _plain),
    **dict.fromkeys(("BINPUT", "LONG_BINPUT"), _put),
    **dict.fromkeys(
        ("BINGET", "LONG_BINGET"),
        lambda machine, number: machine.stack.append(machine.memo[number]),
    ),
}
