"""Convert metrics to plain values before they are logged."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from numbers import Real
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from smallvit.engine.checkpoint.plain import to_plain
from smallvit.engine.metric_names import wanted_metrics
from smallvit.engine.run_record import plain_number
from smallvit.errors import UserError
from smallvit.registry import HOOKS
from smallvit.utils.json_files import brief


@HOOKS.register_module()
class PlainMetricsHook(Hook):
    """Convert array-valued metrics, such as a confusion matrix, to nested lists.

    MMEngine's logger writes metrics as JSON and fails on tensors. A metric that does not return a
    dict, or returns a value that cannot be stored, raises an error with its name.

    Args:
        enabled (bool): Whether the hook is active. Defaults to True.
    """

    #: Runs before ``LoggerHook``.
    priority = "ABOVE_NORMAL"

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled

    def before_val_epoch(self, runner: Runner) -> None:
        """Check what the validation metrics return."""
        if self.enabled:
            _check_results(getattr(runner.val_loop, "evaluator", None))

    def before_test_epoch(self, runner: Runner) -> None:
        """Check what the test metrics return."""
        if self.enabled:
            _check_results(getattr(runner.test_loop, "evaluator", None))

    def after_val_epoch(self, runner: Runner, metrics: dict[str, Any] | None = None) -> None:
        """Convert the validation metrics; refuse hooks that compare a metric that is no number."""
        if self.enabled:
            _flatten(metrics)
            _require_numbers(metrics or {}, runner.hooks)

    def after_test_epoch(self, runner: Runner, metrics: dict[str, Any] | None = None) -> None:
        """Convert the test metrics."""
        if self.enabled:
            _flatten(metrics)


def _check_results(evaluator: Any) -> None:
    for metric in getattr(evaluator, "metrics", ()):
        compute = getattr(metric, "compute_metrics", None)
        if compute is not None and not isinstance(compute, partial):
            metric.compute_metrics = partial(_checked, compute, type(metric).__name__)


def _checked(compute: Callable, kind: str, results: list) -> dict[str, Any]:
    """Compute a metric and check that the result is a dict of metrics."""
    found = compute(results)
    if not isinstance(found, Mapping):
        raise UserError(
            f"{kind}.compute_metrics returned {brief(found)}: it must return a dict from names to "
            "values"
        )
    for name, value in found.items():
        try:
            to_plain(value)
            fine = isinstance(name, str) and not isinstance(value, complex)
        except TypeError:
            fine = False
        if not fine:
            raise UserError(
                f"{kind}.compute_metrics returned {name!r}: {brief(value)}, which cannot be "
                "logged. A metric must be a number, an array, a string, or a list or dict of "
                "these, and its name must be a string"
            )
    return found


def _flatten(metrics: dict[str, Any] | None) -> None:
    for name, value in (metrics or {}).items():
        if getattr(value, "ndim", 0):
            metrics[name] = plain_number(value)


def _require_numbers(metrics: dict[str, Any], hooks: Sequence[Hook]) -> None:
    for hook in hooks:
        for key, name in wanted_metrics(hook):
            if name == "auto":  # the first metric
                name = next(iter(metrics), name)
            value = metrics.get(name, 0.0)
            # MMEngine ignores a best score of None.
            if key == "save_best" and value is None:
                continue
            if not isinstance(value, Real) and getattr(value, "ndim", None) != 0:
                raise UserError(
                    f"{key}={name!r} of {type(hook).__name__} is {brief(value)}, which cannot be "
                    f"compared. Set {key} to a metric that is a single number"
                )
