"""Store the config for prediction in checkpoints."""

from __future__ import annotations

import json

from mmengine.hooks import Hook
from mmengine.runner import Runner

from smallvit.engine.stored_config import KEY, UnsuitedError, check, describe
from smallvit.registry import HOOKS


@HOOKS.register_module()
class StoredConfigHook(Hook):
    """Store the model, its preprocessing and the classes in checkpoints.

    They are stored as JSON, so that the checkpoint alone is sufficient for prediction.

    Args:
        enabled (bool): Whether the hook is active. Defaults to True.
    """

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self._logged = False

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the config to the checkpoint."""
        if not self.enabled:
            return
        metainfo = (checkpoint.get("meta") or {}).get("dataset_meta")
        try:
            text = describe(runner.cfg, metainfo)
        except UnsuitedError as reason:
            return self._log_once(runner, f"checkpoints will contain no config, because {reason}")
        checkpoint[KEY] = text
        try:
            check(json.loads(text))
        except ValueError as reason:
            self._log_once(runner, f"prediction will require --config with a checkpoint: {reason}")

    def _log_once(self, runner: Runner, text: str) -> None:
        if not self._logged:
            runner.logger.info(text)
        self._logged = True
