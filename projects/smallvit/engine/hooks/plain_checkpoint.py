"""Checkpoints of tensors and plain values only, which load under ``weights_only=True``.

MMEngine pickles its history buffers as objects, and torch 2.6 and later refuse to read
those back. The hook here stores the same histories as tensors.
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
