"""Reading the checkpoints that MMEngine writes, which hold objects, without their code.

MMEngine pickles its logging histories as objects that refer to ``builtins.getattr``. The
reader here knows the few names that such a file contains and has a stand-in for each,
which keeps the data and calls nothing. Any other name is refused.
"""

from __future__ import annotations

import pickle
import re
import types
import zipfile
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from smallvit.errors import CheckpointError

_PLAIN_DTYPE = re.compile(r"[bifuSU]\d+$")


class _History:
    """Holds the state of a history buffer."""

    def __setstate__(self, state: dict) -> None:
        self.state = state if isinstance(state, dict) else {}

    def plain(self) -> dict[str, Any]:
        state = {str(key).lstrip("_"): value for key, value in self.state.items()}
        arrays = {
            name: torch.as_tensor(np.asarray(_plain(state[name]), dtype=np.float64))
            for name in ("log_history", "count_history")
        }
        return {**arrays, "max_length": int(state["max_length"])}


class _Type:
    """Holds the name of an array's element type."""

    def __init__(self, code: str, *_: Any) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: tuple) -> None:
        self.order = state[1]

    @property
    def is_plain(self) -> bool:
        return isinstance(self.code, str) and _PLAIN_DTYPE.match(self.code) is not None

    def numpy(self) -> np.dtype:
        if not self.is_plain or self.order not in ("<", ">", "=", "|"):
            raise pickle.UnpicklingError(f"an array of {self.code!r}")
        return np.dtype(self.code).newbyteorder(self.order)


class _Array:
    """Holds the content of an array."""

    def __setstate__(self, state: tuple) -> None:
        _, self.shape, self.type, self.by_columns, self.content = state

    def plain(self) -> Any:
        if isinstance(self.content, list):  # an array of objects: lists, strings
            return [_plain(item) for item in self.content]
        order = "F" if self.by_columns else "C"
        flat = np.frombuffer(self.content, dtype=self.type.numpy())
        return flat.reshape(self.shape, order=order).copy()


class _Scalar:
    """Holds a number."""

    def __init__(self, kind: _Type, content: bytes = b"") -> None:
        self.kind, self.content = kind, content

    def plain(self) -> Any:
        return np.frombuffer(self.content, dtype=self.kind.numpy())[0].item()


def _new_array(*_: Any) -> _Array:
    return _Array()


def _nothing(*_: Any) -> None:
    """In the place of ``getattr``: the methods it would find are not needed."""


def _to_bytes(text: str, encoding: str = "latin1") -> bytes:
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding!r}")
    return text.encode("latin1")


_STAND_INS: dict[str, Any] = {
    "collections.OrderedDict": OrderedDict,
    "mmengine.logging.history_buffer.HistoryBuffer": _History,
    "builtins.getattr": _nothing,
    "numpy.ndarray": _Array,
    "numpy.dtype": _Type,
    "numpy.core.multiarray._reconstruct": _new_array,
    "numpy._core.multiarray._reconstruct": _new_array,
    "numpy.core.multiarray.scalar": _Scalar,
    "numpy._core.multiarray.scalar": _Scalar,
    "_codecs.encode": _to_bytes,
    "torch._utils._rebuild_tensor_v2": torch._utils._rebuild_tensor_v2,
    "torch._utils._rebuild_parameter": torch._utils._rebuild_parameter,
    "torch.Size": torch.Size,
    "torch.device": torch.device,
}


class _Reader(pickle.Unpickler):
    """An unpickler that knows the names above and no other."""

    def find_class(self, module: str, name: str) -> Any:
        # Protocol 2, which torch writes, has Python 2's name.
        full = f"{'builtins' if module == '__builtin__' else module}.{name}"
        if full in _STAND_INS:
            return _STAND_INS[full]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        raise pickle.UnpicklingError(f"GLOBAL {full}")


#: What torch asks of the module that it unpickles with.
_PICKLE = types.SimpleNamespace(
    __name__="smallvit.engine.checkpoint.mmengine_pickles",
    Unpickler=_Reader,
    UnpicklingError=pickle.UnpicklingError,
    load=lambda file, **kwargs: _Reader(file, **kwargs).load(),
)


def read_mmengine(path: str, map_location: Any = None) -> dict:
    """Read a checkpoint that MMEngine wrote.

    Args:
        path (str): A zip archive, torch's format since 1.6.
        map_location (Any): As for :func:`torch.load`. Defaults to None.

    Returns:
        dict: The checkpoint; histories as the dictionaries that
        :class:`PlainCheckpointHook` writes, arrays as numpy's.

    Raises:
        CheckpointError: If it is a TorchScript program.
        pickle.UnpicklingError: If it refers to anything that MMEngine does not store.
    """
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") for name in names):
        raise CheckpointError(f"{path}: a TorchScript program and not a checkpoint; not loaded")
    loaded = torch.load(path, map_location=map_location, pickle_module=_PICKLE, weights_only=False)
    return _plain(loaded)


def _plain(value: Any) -> Any:
    if isinstance(value, (_History, _Array, _Scalar)):
        return value.plain()
    if isinstance(value, _Type):
        return value.code
    if isinstance(value, OrderedDict):
        # A state dict carries its version as an attribute, which a copy would lose.
        for key in list(value):
            value[key] = _plain(value[key])
        return value
    if isinstance(value, Mapping):
        return {_plain(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_plain(item) for item in value)
    return value
