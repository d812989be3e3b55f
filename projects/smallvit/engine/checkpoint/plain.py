"""Convert checkpoints to tensors and plain values, which load with ``weights_only=True``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer


def to_plain(value: Any) -> Any:
    """Convert a nested value to tensors, numbers, strings and plain containers.

    Args:
        value (Any): History buffers, numpy arrays and scalars, tensors, plain values
            and containers of these.

    Returns:
        Any: The same value without numpy and MMEngine types.

    Raises:
        TypeError: If the value contains anything else.
    """
    if isinstance(value, HistoryBuffer):
        log, count = value.data
        return {
            "log_history": torch.as_tensor(np.asarray(log, dtype=np.float64)),
            "count_history": torch.as_tensor(np.asarray(count, dtype=np.float64)),
            "max_length": value.max_length,
        }
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return torch.as_tensor(value) if value.dtype.kind in "biuf" else value.tolist()
    if isinstance(value, (torch.Tensor, str, int, float, bytes, type(None))):
        return value
    if isinstance(value, Mapping):
        return {to_plain(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set)):
        kind = tuple if isinstance(value, tuple) else type(value)
        return kind(to_plain(item) for item in value)
    if isinstance(value, (torch.dtype, torch.device, torch.Size)):
        return value
    raise TypeError(
        f"a checkpoint may contain only tensors and plain values, got {type(value).__name__}: "
        f"{value!r}"
    )
