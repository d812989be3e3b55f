"""Read the objects in MMEngine's checkpoints without running their code.

MMEngine pickles its logging histories as objects that refer to ``builtins.getattr``. This module
has a stand-in for each of the few names in such a file. The stand-ins store the data and call
nothing, and are allowed in :func:`torch.load` with ``weights_only=True``.
"""

from __future__ import annotations

import _codecs
import pickle
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

_PLAIN_DTYPE = re.compile(r"[bifuSU]\d+$")
# torch's list of allowed globals is process-wide.
_lock = threading.RLock()


class _History:
    """Stand-in for a history buffer: holds its state."""

    __slots__ = ("state",)

    def __setstate__(self, state: dict) -> None:
        self.state = state if isinstance(state, dict) else {}

    def plain(self) -> dict[str, Any]:
        state = {str(key).lstrip("_"): value for key, value in self.state.items()}
        arrays = {
            name: torch.as_tensor(np.asarray(to_values(state[name]), dtype=np.float64))
            for name in ("log_history", "count_history")
        }
        return {**arrays, "max_length": int(state["max_length"])}


class _Type:
    """Stand-in for a numpy dtype: holds its name."""

    __slots__ = ("code", "order")

    def __init__(self, code: str, *_: Any) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]

    @property
    def is_plain(self) -> bool:
        return isinstance(self.code, str) and _PLAIN_DTYPE.match(self.code) is not None

    def numpy(self) -> np.dtype:
        if not self.is_plain or self.order not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError(f"unsupported array type {self.code!r}")
        return np.dtype(self.code).newbyteorder(self.order)


class _Array:
    """Stand-in for a numpy array: holds its content."""

    __slots__ = ("by_columns", "content", "shape", "type")

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.type, self.by_columns, self.content = state

    def plain(self) -> Any:
        if isinstance(self.content, list):  # an array of objects, such as lists or strings
            return [to_values(item) for item in self.content]
        order = "F" if self.by_columns else "C"
        flat = np.frombuffer(self.content, dtype=self.type.numpy())
        return flat.reshape(self.shape, order=order).copy()


class _Scalar:
    """Stand-in for a numpy scalar: holds its value."""

    __slots__ = ("content", "kind")

    def __init__(self, kind: _Type, content: bytes = b"") -> None:
        self.kind, self.content = kind, content

    def plain(self) -> Any:
        return np.frombuffer(self.content, dtype=self.kind.numpy())[0].item()


def _new_array(*_: Any) -> _Array:
    # torch sets the state only of types that it knows by name.
    return _STAND_INS["numpy.ndarray"]()


def _nothing(*_: Any) -> None:
    """Stand-in for ``getattr``, whose result is not needed."""


def _named(full: str, make: type | Callable[..., Any]) -> Any:
    """Register a stand-in under the name that the pickle refers to."""
    if isinstance(make, type):
        found = type(make.__name__, (make,), {"__slots__": ()})
    else:

        def found(*args: Any) -> Any:
            return make(*args)

    found.__module__, _, found.__name__ = full.rpartition(".")
    found.__qualname__ = found.__name__
    return found


_STAND_INS: dict[str, Any] = {
    full: _named(full, make)
    for full, make in (
        ("mmengine.logging.history_buffer.HistoryBuffer", _History),
        ("builtins.getattr", _nothing),
        ("__builtin__.getattr", _nothing),
        ("numpy.ndarray", _Array),
        ("numpy.dtype", _Type),
        ("numpy.core.multiarray._reconstruct", _new_array),
        ("numpy._core.multiarray._reconstruct", _new_array),
        ("numpy.core.multiarray.scalar", _Scalar),
        ("numpy._core.multiarray.scalar", _Scalar),
    )
}


@contextmanager
def stand_ins() -> Iterator[None]:
    """Register the stand-ins with :func:`torch.load` while a file is read.

    Yields:
        None: While they are registered; ``weights_only=True`` allows no others but torch's own.
    """
    with _lock:
        if hasattr(torch.serialization, "safe_globals"):
            with torch.serialization.safe_globals(list(_STAND_INS.values())):
                yield
            return
        before = list(torch.serialization.get_safe_globals())  # torch 2.4 returns its own list
        # Later versions of torch allow this name, used for arrays; the scan checked its arguments.
        torch.serialization.add_safe_globals([*_STAND_INS.values(), _codecs.encode])
        try:
            yield
        finally:
            torch.serialization.clear_safe_globals()
            torch.serialization.add_safe_globals(before)


def to_values(value: Any) -> Any:
    """Replace the stand-ins in a loaded checkpoint with the values they hold.

    Args:
        value (Any): The loaded checkpoint or a part of it.

    Returns:
        Any: The same with histories as the dictionaries that :class:`PlainCheckpointHook`
        writes, and arrays as numpy arrays.
    """
    if isinstance(value, (_History, _Array, _Scalar)):
        return value.plain()
    if isinstance(value, _Type):
        return value.code
    if isinstance(value, OrderedDict):
        # A state dict stores its version in an attribute, which a copy would lose.
        for key in list(value):
            value[key] = to_values(value[key])
        return value
    if isinstance(value, Mapping):
        return {to_values(key): to_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(to_values(item) for item in value)
    return value
