"""Stopping a training whose loss is no number any more."""

from __future__ import annotations

import math
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from smallvit.engine.checkpoint.newest import last_checkpoint
from smallvit.errors import NonFiniteError
from smallvit.registry import HOOKS


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Stop when a loss term is NaN or infinite, and say where it happened.

    The values are those that MMEngine's ``RuntimeInfoHook`` has already brought to the
    CPU, so that the check adds no synchronization with the device.

    Args:
        tolerance (int): Steps in a row that a loss scaler (``AmpOptimWrapper``) may skip.
            Without one nothing is skipped, and the first step counts. Defaults to 5.
        shown (int): Samples that the message names. Defaults to 8.
        enabled (bool): Defaults to True.
    """

    #: After the values are on the CPU, before anything averages or logs them.
    priority = "HIGH"

    def __init__(self, tolerance: int = 5, shown: int = 8, enabled: bool = True) -> None:
        self.tolerance, self.shown, self.enabled = tolerance, shown, enabled
        self.streak = 0

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        """Check the loss terms of a step.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Number of the batch in the epoch.
            data_batch (dict, optional): The batch. Defaults to None.
            outputs (dict, optional): The loss terms. Defaults to None.

        Raises:
            NonFiniteError: If one is not finite, and no loss scaler deals with it.
        """
        if not self.enabled or not outputs:
            return
        terms = {name: _value(runner, name, outputs) for name in outputs if "loss" in name}
        if all(map(math.isfinite, terms.values())):
            self.streak = 0
            return
        self.streak += 1
        tolerated = self.tolerance if _scales_loss(runner.optim_wrapper) else 0
        where = f"iteration {runner.iter + 1} (epoch {runner.epoch + 1})"
        losses = ", ".join(f"{name}={value:.4g}" for name, value in terms.items())
        if self.streak <= tolerated:
            runner.logger.warning(
                f"{where}: {losses}; the loss scaler skips this step ({self.streak} in a row, "
                f"{tolerated} are tolerated)"
            )
            return
        raise NonFiniteError(
            f"{where}: the loss is not finite: {losses}\n"
            f"  samples: {self._samples(data_batch)}\n"
            f"  last good checkpoint: {last_checkpoint(runner.work_dir) or 'none was written'}\n"
            "  (a lower learning rate, a longer warm-up or optim_wrapper.clip_grad may help)"
        )

    def _samples(self, batch: Any) -> str:
        paths = sample_paths(batch)
        if not paths:
            return "the batch does not tell"
        more = f" and {len(paths) - self.shown} more" if len(paths) > self.shown else ""
        return ", ".join(paths[: self.shown]) + more


def _value(runner: Runner, name: str, outputs: dict) -> float:
    history = runner.message_hub.log_scalars.get(f"train/{name}")
    return float(outputs[name] if history is None else history.data[0][-1])


def _scales_loss(wrapper: Any) -> bool:
    several = getattr(wrapper, "optim_wrappers", None)  # an OptimWrapperDict
    if several is not None:
        return any(_scales_loss(single) for single in several.values())
    scaler = getattr(wrapper, "loss_scaler", None)
    return scaler is not None and scaler.is_enabled()


def sample_paths(batch: Any) -> list[str]:
    """Find where the samples of a batch come from.

    Args:
        batch (Any): A batch of an MM data loader.

    Returns:
        list[str]: Paths or indices of its samples; empty if it does not tell.
    """
    if hasattr(batch, "get"):
        batch = batch.get("data_samples")
    if not isinstance(batch, (list, tuple)):
        return []
    found = []
    for sample in batch:
        names = (getattr(sample, key, None) for key in ("img_path", "sample_idx", "img_id"))
        found += [str(name) for name in names if name not in (None, "")][:1]
    return found
