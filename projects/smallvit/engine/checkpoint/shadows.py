"""Shadows of the values that a pickle would build: size and depth without content."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import Any

#: Maximum nesting depth; no checkpoint is nested deeper.
MAX_DEPTH = 100
#: Limits on repeated references, each of which counts as a value: a ratio, and a number beyond it.
MAX_SHARING, SLACK = 4, 100_000


class Refused(pickle.UnpicklingError):
    """The pickle does something that pickles of checkpoints never do; see the message."""


class Name(str):
    """Name of a function or class that a pickle refers to."""


class Storage:
    """Storage of a tensor.

    Args:
        size (int): Size in bytes.
        item (int): Bytes per element.
    """

    def __init__(self, size: int, item: int) -> None:
        self.size, self.item = size, item


class Shadow:
    """A container or a tensor.

    Args:
        kind (str): Type of the value.
        parts (list): Its elements that are shadows or names.
        count (int): Number of all its elements. Defaults to 0.
        size (int): Bytes of a tensor, with expanded elements counted. Defaults to 0.

    Attributes:
        keys (list): Keys of a dictionary.
    """

    __slots__ = ("count", "keys", "kind", "parts", "size")

    def __init__(self, kind: str, parts: list | None = None, count: int = 0, size: int = 0) -> None:
        self.kind, self.parts, self.count, self.size = kind, parts or [], count, size
        self.keys: list[Any] = []

    def add(self, values: list) -> None:
        """Add elements.

        Args:
            values (list): Shadows, names and plain values.
        """
        self.count += len(values)
        self.parts += [value for value in values if isinstance(value, (Shadow, Name))]


class Tuple(Shadow):
    """A tuple, which also keeps its plain elements.

    Args:
        items (tuple): All its elements.
    """

    __slots__ = ("items",)

    def __init__(self, items: tuple) -> None:
        super().__init__("tuple")
        self.items = items
        self.add(list(items))


def measure(root: Any, may_be_value: Callable[[str], bool]) -> tuple[int, int]:
    """Count the values and bytes in a nested value, once for every reference to them.

    Args:
        root (Any): A shadow, or a plain value.
        may_be_value (Callable): Returns whether a name may occur as a value.

    Returns:
        tuple[int, int]: Number of values, and bytes of tensors.

    Raises:
        Refused: If it is nested too deeply, or contains itself or a function.
    """
    if not isinstance(root, Shadow):
        return 1, 0
    # Each shadow is visited once, even if it is referenced repeatedly.
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
                raise Refused("contains a recursive value")
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
