"""Checkpoints that load with ``weights_only=True``.

MMEngine pickles its history buffers as objects, which torch 2.6 and later refuse to load by
default. This hook stores the same histories as tensors.
"""

from __future__ import annotations

from collections.abc import Mapping

from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from smallvit.engine.checkpoint.plain import to_plain
from smallvit.registry import HOOKS

_HISTORY_KEYS = {"log_history", "count_history", "max_length"}


@HOOKS.register_module()
class PlainCheckpointHook(Hook):
    """Store the objects that MMEngine pickles as tensors and plain values, and restore them.

    Usable in any MM config: ``custom_hooks=[dict(type="smallvit.PlainCheckpointHook")]``.
    """

    #: Runs after every hook that adds to the checkpoint.
    priority = "LOWEST"

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Convert the objects in the checkpoint to plain values."""
        for key in checkpoint.keys() - {"state_dict"}:
            checkpoint[key] = to_plain(checkpoint[key])

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Convert the stored histories back to MMEngine's history buffers."""
        scalars = checkpoint.get("message_hub", {}).get("log_scalars", {})
        for name, value in scalars.items():
            if isinstance(value, Mapping) and value.keys() == _HISTORY_KEYS:
                scalars[name] = HistoryBuffer(
                    value["log_history"].numpy(force=True),
                    value["count_history"].numpy(force=True),
                    value["max_length"],
                )
