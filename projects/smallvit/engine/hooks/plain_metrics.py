"""Metrics as plain values, before they are logged."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from smallvit.engine.run_record import plain_number
from smallvit.registry import HOOKS


@HOOKS.register_module()
class PlainMetricsHook(Hook):
    """Turn metrics that are matrices, such as a confusion matrix, into nested lists.

    MMEngine's logger writes metrics as JSON and stops at a tensor.

    Args:
        enabled (bool): Defaults to True.
    """

    #: Before ``LoggerHook``.
    priority = "ABOVE_NORMAL"

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled

    def after_val_epoch(self, runner: Runner, metrics: dict[str, Any] | None = None) -> None:
        """Convert the metrics of a validation.

        Args:
            runner (Runner): The runner.
            metrics (dict, optional): What was found, changed in place. Defaults to None.
        """
        if self.enabled:
            _flatten(metrics)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, Any] | None = None) -> None:
        """Convert the metrics of a test.

        Args:
            runner (Runner): The runner.
            metrics (dict, optional): What was found, changed in place. Defaults to None.
        """
        if self.enabled:
            _flatten(metrics)


def _flatten(metrics: dict[str, Any] | None) -> None:
    for name, value in (metrics or {}).items():
        if getattr(value, "ndim", 0):
            metrics[name] = plain_number(value)
