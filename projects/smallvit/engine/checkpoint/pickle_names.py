"""Allowlist of the functions that a checkpoint's pickle may call, and of their arguments.

The files of torch and MMEngine call few functions, always in the same way. Each entry checks the
arguments of a call before it is executed, and describes its result.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch

from smallvit.engine.checkpoint.shadows import Name, Refused, Shadow, Storage, Tuple

_STORAGES = {
    "Double": 8,
    "Float": 4,
    "Half": 2,
    "BFloat16": 2,
    "Long": 8,
    "Int": 4,
    "Short": 2,
    "Char": 1,
    "Byte": 1,
    "Bool": 1,
    "ComplexDouble": 16,
    "ComplexFloat": 8,
    "QUInt8": 1,
    "QInt8": 1,
    "QInt32": 4,
}
#: Bytes per element of the storage types that torch names in its pickles.
ITEM_SIZES = {
    f"{place}.{kind}Storage": size
    for kind, size in _STORAGES.items()
    for place in ("torch", "torch.cuda")
}
ITEM_SIZES |= {"torch.storage.UntypedStorage": 1}
#: Names that MMEngine adds to checkpoints; :mod:`.mmengine_pickles` has a stand-in for each.
OF_MMENGINE = frozenset(
    {
        "mmengine.logging.history_buffer.HistoryBuffer",
        "builtins.getattr",
        "numpy.ndarray",
        "numpy.dtype",
        "numpy.core.multiarray._reconstruct",
        "numpy._core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray.scalar",
    }
)
_CLASSES = ("torch.Tensor", "torch.nn.parameter.Parameter")
_SCHEMES = tuple(
    f"torch.{name}"
    for name in (
        *("per_tensor_affine", "per_tensor_symmetric", "per_channel_affine"),
        *("per_channel_symmetric", "per_channel_affine_float_qparams"),
    )
)
#: Sets and counters hash their elements, whose hashes can be chosen to make this slow.
MAX_SET = 10_000


def is_dtype(name: str) -> bool:
    """Check whether a name is one of torch's dtypes.

    Args:
        name (str): Qualified name, such as "torch.float32".

    Returns:
        bool: Whether it is a dtype.
    """
    module, _, own = name.rpartition(".")
    return module == "torch" and isinstance(getattr(torch, own, None), torch.dtype)


def is_known(name: str) -> bool:
    """Check whether a checkpoint may refer to a name.

    Args:
        name (str): Qualified name, with its module.

    Returns:
        bool: Whether it is in the allowlist.
    """
    plain = name in CALLS or name in OF_MMENGINE or name in ITEM_SIZES
    return plain or name in _CLASSES or name in _SCHEMES or is_dtype(name)


def call(name: str, args: Tuple) -> Any:
    """Describe the result of a call.

    Args:
        name (str): A name in the allowlist.
        args (Tuple): Arguments of the call.

    Returns:
        Any: A shadow of the result.

    Raises:
        Refused: If torch and MMEngine never make such a call.
    """
    if name not in CALLS:
        raise Refused(f"calls {name}")
    return CALLS[name](args.items)


def _parts(kind: str) -> Callable[[tuple], Shadow]:
    return lambda args: Shadow(kind, [arg for arg in args if isinstance(arg, Shadow)])


def _require(fits: bool, what: str) -> None:
    if not fits:
        raise Refused(f"calls {what} in a way that torch does not")


def _collection(kind: str) -> Callable[[tuple], Shadow]:
    def make(args: tuple) -> Shadow:
        sized = all(isinstance(arg, Shadow) and arg.count <= MAX_SET for arg in args)
        _require(len(args) <= 1 and sized, kind)
        return Shadow(kind, list(args), sum(arg.count for arg in args))

    return make


def _encode(args: tuple) -> str:
    # Other encodings enlarge the value, and can be chained.
    _require(len(args) == 2 and isinstance(args[0], str) and args[1] == "latin1", "_codecs.encode")
    return args[0]


def _bytearray(args: tuple) -> str:
    content = args[0] if args else ""
    _require(isinstance(content, (str, bytes)) and args[1:] in ((), ("latin-1",)), "bytearray")
    return str(content)


def _complex(args: tuple) -> float:
    _require(all(isinstance(arg, (int, float)) for arg in args), "complex")
    return 0.0


def _layout(args: tuple) -> str:
    _require(all(isinstance(arg, str) for arg in args), "torch.serialization._get_layout")
    return "layout"


def _device(args: tuple) -> str:
    _require(all(isinstance(arg, (str, int)) for arg in args), "torch.device")
    return "device"


def _size(args: tuple) -> Tuple:
    _require(len(args) == 1 and _lengths(args[0]) is not None, "torch.Size")
    return args[0]


def _lengths(value: Any) -> tuple[int, ...] | None:
    items = value.items if isinstance(value, Tuple) else None
    plain = items is not None and all(type(item) is int and item >= 0 for item in items)
    return items if plain else None


def _tensor(args: tuple) -> Shadow:
    """``_rebuild_tensor_v2`` and ``v3``: storage, offset, size, stride, gradient, hooks, ..."""
    name = "torch._utils._rebuild_tensor"
    _require(len(args) >= 4 and isinstance(args[0], Storage) and type(args[1]) is int, name)
    storage, offset, size, stride = args[0], args[1], _lengths(args[2]), _lengths(args[3])
    _require(size is not None and stride is not None and len(size) == len(stride), name)
    item = storage.item
    if len(args) > 6 and isinstance(args[6], Name) and is_dtype(args[6]):
        item = getattr(torch, args[6].rpartition(".")[2]).itemsize
    count = prod(size)
    last = sum((n - 1) * step for n, step in zip(size, stride, strict=True)) if count else -1
    if offset < 0 or (offset + last + 1) * item > storage.size:
        raise Refused("has a tensor larger than its storage")
    hooks = [arg for arg in args[5:6] if isinstance(arg, Shadow)]
    _require(not any(hook.count for hook in hooks), name)
    rest = [arg for arg in args[6:] if isinstance(arg, Shadow)]
    return Shadow("tensor", rest, size=count * item)


def _quantized(args: tuple) -> Shadow:
    tensor = _tensor(args[:4])
    _require(len(args) > 4 and isinstance(args[4], Tuple), "torch._utils._rebuild_qtensor")
    tensor.parts += [part for part in args[4].parts if isinstance(part, Shadow)]
    return tensor


def _sparse(args: tuple) -> Shadow:
    _require(len(args) == 2 and isinstance(args[1], Tuple), "torch._utils._rebuild_sparse_tensor")
    return Shadow("tensor", [args[1]])


def _parameter(args: tuple) -> Shadow:
    name = "torch._utils._rebuild_parameter"
    _require(bool(args) and isinstance(args[0], Shadow) and args[0].kind == "tensor", name)
    hooks = [arg for arg in args[2:3] if isinstance(arg, Shadow)]
    _require(not any(hook.count for hook in hooks), name)
    return Shadow("tensor", [arg for arg in (args[0], *args[3:]) if isinstance(arg, Shadow)])


def _with_attributes(args: tuple) -> Shadow:
    """``_rebuild_from_type_v2``: a tensor with additional attributes."""
    name = "torch._tensor._rebuild_from_type_v2"
    _require(len(args) == 4 and args[0] in TENSORS and args[1] in _CLASSES, name)
    _require(isinstance(args[2], Tuple) and isinstance(args[3], (Shadow, type(None))), name)
    state = [args[3]] if isinstance(args[3], Shadow) else []
    return Shadow("tensor", [TENSORS[args[0]](args[2].items), *state])


TENSORS: dict[str, Callable[[tuple], Any]] = {
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_qtensor": _quantized,
    "torch._utils._rebuild_sparse_tensor": _sparse,
}
CALLS: dict[str, Callable[[tuple], Any]] = {
    **TENSORS,
    "torch._tensor._rebuild_from_type_v2": _with_attributes,
    "torch.Size": _size,
    "torch.device": _device,
    "torch.serialization._get_layout": _layout,
    "collections.OrderedDict": _collection("OrderedDict"),
    "collections.Counter": _collection("counter"),
    "builtins.set": _collection("set"),
    "builtins.complex": _complex,
    "builtins.bytearray": _bytearray,
    "_codecs.encode": _encode,
    "builtins.getattr": lambda args: None,
    "numpy.dtype": _parts("dtype"),
    "numpy.core.multiarray._reconstruct": _parts("array"),
    "numpy._core.multiarray._reconstruct": _parts("array"),
    "numpy.core.multiarray.scalar": _parts("number"),
    "numpy._core.multiarray.scalar": _parts("number"),
}
