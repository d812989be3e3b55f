"""Checkpoints of tensors and plain values only, which load under ``weights_only=True``.

MMEngine pickles its history buffers as objects, and torch 2.6 and later refuse to read
those back. The hook here stores the same histories as tensors.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from smallvit.engine.errors import CheckpointError
from smallvit.engine.untrusted import load_from_local, require_checkpoint
from smallvit.registry import HOOKS

__all__ = [
    "CheckpointError",
    "PlainCheckpointHook",
    "load_from_local",
    "load_strictly",
    "require_checkpoint",
    "to_plain",
]

_HISTORY_KEYS = {"log_history", "count_history", "max_length"}


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Store what MMEngine keeps as objects as tensors and plain values, and restore it.

    Usable in any MM config: ``custom_hooks=[dict(type="smallvit.PlainCheckpointHook")]``.
    """

    #: After every hook that adds to the checkpoint.
    priority = "LOWEST"

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Turn the checkpoint's objects into plain values.

        Args:
            runner (Runner): The runner that saves.
            checkpoint (dict): What will be saved, changed in place.
        """
        for key in checkpoint.keys() - {"state_dict"}:
            checkpoint[key] = to_plain(checkpoint[key])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Turn the stored histories back into MMEngine's buffers.

        Args:
            runner (Runner): The runner that loads.
            checkpoint (dict): What was loaded, changed in place.
        """
        scalars = checkpoint.get("message_hub", {}).get("log_scalars", {})
        for name, value in scalars.items():
            if isinstance(value, Mapping) and value.keys() == _HISTORY_KEYS:
                scalars[name] = HistoryBuffer(
                    value["log_history"].numpy(force=True),
                    value["count_history"].numpy(force=True),
                    value["max_length"],
                )


def to_plain(value: Any) -> Any:
    """Convert a nested value to tensors, numbers, strings and plain containers.

    Args:
        value (Any): History buffers, numpy arrays and scalars, tensors, plain values
            and containers of these.

    Returns:
        Any: The same without numpy and MMEngine types.

    Raises:
        TypeError: If something else is in it.
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
        f"a checkpoint holds tensors and plain values only, not {type(value).__name__}: {value!r}"
    )


def load_strictly(runner: Runner) -> None:
    """Make a runner refuse a checkpoint that does not fit its model.

    MMEngine warns and goes on, which tests random weights.

    Args:
        runner (Runner): The runner, whose ``load_checkpoint`` is made strict.
    """
    runner.load_checkpoint = partial(_load_or_refuse, runner.load_checkpoint)


def _load_or_refuse(load_checkpoint, filename: str, **kwargs) -> dict:
    try:
        return load_checkpoint(filename, **{**kwargs, "strict": True})
    except RuntimeError as error:
        if "do not match exactly" not in str(error):
            raise
        raise CheckpointError(_mismatch(filename, str(error))) from error


def _mismatch(filename: str, text: str, shown: int = 4) -> str:
    """Shorten MMEngine's list of everything that does not fit."""
    keys, sizes = [], []
    for line in (line.strip() for line in text.splitlines()[1:] if line.strip()):
        title, _, names = line.partition(": ")
        if title in _MISMATCHES:
            keys.append(f"  {_MISMATCHES[title]}: {_some(names.split(', '), shown, ', ')}")
        else:
            sizes.append(line)
    if sizes:
        keys.append(f"  {_some(sizes, shown, chr(10) + '  ')}")
    return "\n".join(
        [
            f"{filename} is a checkpoint of another model than the config's, and was not tested",
            *keys,
            "  (--allow-mismatch tests it nevertheless, with random weights where it has none)",
        ]
    )


_MISMATCHES = {
    "missing keys in source state_dict": "the model has, the file lacks",
    "unexpected key in source state_dict": "the file has, the model lacks",
}


def _some(items: list[str], shown: int, separator: str) -> str:
    more = [f"and {len(items) - shown} more"] if len(items) > shown else []
    return separator.join(items[:shown] + more)
