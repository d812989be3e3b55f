"""What a pickle would build, as shadows: how much, how deep, but none of the values."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

#: More than this, nested, is in no checkpoint.
MAX_DEPTH = 100
#: A value that is referred to twice counts twice: so often, and so many beyond, may that happen.
MAX_SHARING, SLACK = 4, 100_000


class Refused(pickle.UnpicklingError):
    """A pickle that does what those of checkpoints never do; the message says what."""


class Name(str):
    """A function or class that a pickle refers to."""


class Storage:
    """The memory of a tensor.

    Args:
        size (int): In bytes.
        item (int): Bytes of an element.
    """

    def __init__(self, size: int, item: int) -> None:
        self.size, self.item = size, item


class Shadow:
    """A value that holds others, or a tensor.

    Args:
        kind (str): What it is.
        parts (list): Those of its values that are shadows or names.
        count (int): All of its values. Defaults to 0.
        size (int): Bytes of a tensor's elements, each counted. Defaults to 0.

    Attributes:
        keys (list): Those of a dictionary.
    """

    __slots__ = ("count", "keys", "kind", "parts", "size")

    def __init__(self, kind: str, parts: list | None = None, count: int = 0, size: int = 0) -> None:
        self.kind, self.parts, self.count, self.size = kind, parts or [], count, size
        self.keys: list[Any] = []

    def add(self, values: list) -> None:
        """Put values into it.

        Args:
            values (list): Shadows, names and plain values.
        """
        self.count += len(values)
        self.parts += [value for value in values if isinstance(value, (Shadow, Name))]


class Tuple(Shadow):
    """A tuple, which keeps its plain values too.

    Args:
        items (tuple): Its values.
    """

    __slots__ = ("items",)

    def __init__(self, items: tuple) -> None:
        super().__init__("tuple")
        self.items = items
        self.add(list(items))


def measure(root: Any, may_be_value: Callable[[str], bool]) -> tuple[int, int]:
    """Count what a value holds, as often as it is referred to.

    Args:
        root (Any): A shadow, or a plain value.
        may_be_value (Callable): Tells which names are values by themselves.

    Returns:
        tuple[int, int]: Values, and bytes of tensors.

    Raises:
        Refused: If it is nested too deep, holds itself, or a function.
    """
    if not isinstance(root, Shadow):
        return 1, 0
    # Each shadow is visited once, however often it is referred to.
    found: dict[int, tuple[int, int, int]] = {}
    entered: set[int] = set()
    path = [root]
    while path:
        shadow = path[-1]
        parts = [part for part in shadow.parts if not isinstance(part, Name)]
        if id(shadow) not in entered:
            entered.add(id(shadow))
            _refuse_names(shadow, may_be_value)
            missing = [part for part in parts if id(part) not in found]
            if any(id(part) in entered for part in missing):
                raise Refused("holds a value that holds itself")
            path += missing
            if missing:
                continue
        path.pop()
        if id(shadow) not in found:
            inner = [found[id(part)] for part in parts]
            found[id(shadow)] = _sum(shadow, inner)
    return found[id(root)][:2]


def _sum(shadow: Shadow, inner: list[tuple[int, int, int]]) -> tuple[int, int, int]:
    depth = 1 + max((each for _, _, each in inner), default=0)
    if depth > MAX_DEPTH:
        raise Refused(f"nests values more than {MAX_DEPTH} deep")
    count = 1 + shadow.count + sum(each for each, _, _ in inner) - len(inner)
    return count, shadow.size + sum(each for _, each, _ in inner), depth


def _refuse_names(shadow: Shadow, may_be_value: Callable[[str], bool]) -> None:
    for part in shadow.parts:
        if isinstance(part, Name) and not may_be_value(part):
            raise Refused(f"holds {part} as a value")
