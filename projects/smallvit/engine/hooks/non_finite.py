"""Stop training when the loss or the gradient is NaN or infinite."""

from __future__ import annotations

import math
from typing import Any

from mmengine.dist import all_gather_object, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch.nn.parallel import DistributedDataParallel

from smallvit.engine.checkpoint.newest import last_checkpoint
from smallvit.engine.gradients import (
    GradientGuard,
    RunningStatistics,
    optim_wrappers,
    scales_loss,
)
from smallvit.errors import NonFiniteError, UserError
from smallvit.registry import HOOKS

#: Consecutive skipped steps after which a loss scaler that started at 65,536 cannot recover.
HOPELESS = 30


@HOOKS.register_module()
class NonFiniteHook(Hook):
    """Stop training when a loss term or the gradient is NaN or infinite, and name the batch.

    The check reuses the losses that MMEngine's ``RuntimeInfoHook`` has already copied to the CPU
    and the gradient norm from clipping, so that it adds no synchronization with the device. Without
    clipping the norm is computed here and read after the step. A step with a non-finite gradient is
    prevented if this is known before the step: with clipping, on a CPU, and if steps may be
    skipped.

    Args:
        skip (int): Maximum number of consecutive steps that are skipped because the loss or the
            gradient is not finite; weights, optimizer and running statistics stay unchanged. If
            it is not 0, each step synchronizes with the device. Defaults to 0.
        tolerance (int): Maximum number of consecutive steps with a non-finite loss that a loss
            scaler (``AmpOptimWrapper``) may skip. Defaults to 5.
        shown (int): Number of samples named in the message. Defaults to 8.
        enabled (bool): Whether the hook is active. Defaults to True.
    """

    #: Runs once the values are on the CPU, before they are averaged or logged.
    priority = "HIGH"

    def __init__(
        self, skip: int = 0, tolerance: int = 5, shown: int = 8, enabled: bool = True
    ) -> None:
        self.skip, self.tolerance, self.shown, self.enabled = skip, tolerance, shown, enabled
        self.streak = 0
        self.overflows = 0
        self.guard: GradientGuard | None = None
        self.statistics: RunningStatistics | None = None
        self._batches: list[Any] = []

    def before_train(self, runner: Runner) -> None:
        """Start checking gradients; refuse to skip steps if processes have different gradients."""
        if not self.enabled:
            return
        if self.skip and get_world_size() > 1 and not _shares_gradients(runner):
            raise UserError(
                f"default_hooks.non_finite.skip={self.skip}: with {type(runner.model).__name__}, "
                "each process has different gradients and would skip different steps. Set skip=0, "
                "or train with MMDistributedDataParallel"
            )
        self.guard = GradientGuard(runner.optim_wrapper, at_once=self.skip > 0)
        self.statistics = RunningStatistics(runner.model) if self.skip else None

    def after_train(self, runner: Runner) -> None:
        """Restore the methods of the optimizer wrapper."""
        if self.guard is not None:
            self.guard.remove()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch=None) -> None:
        """Remember the sample paths of the next step."""
        if not self.enabled:
            return
        if self.statistics is not None and not self._batches:
            self.statistics.keep()
        self._batches.append(_sources(data_batch))

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs: dict | None = None
    ) -> None:
        """Check the loss terms and the gradient of the step, and skip it or stop training."""
        if not self.enabled or self.guard is None:
            return
        stepped, norm = self.guard.stepped, self.guard.finish()
        terms = {name: _value(runner, name, outputs) for name in outputs or () if "loss" in name}
        if scales_loss(runner.optim_wrapper):
            self._check_scaled(runner, terms, stepped)
        elif norm is not None:
            self._check_skipped(runner, terms, norm)
        elif not _finite(terms):
            self._check_loss(runner, terms, stepped)
        elif stepped:
            self.streak = 0
        if _step_due(runner):
            self._batches.clear()

    def _check_scaled(self, runner: Runner, terms: dict[str, float], stepped: bool) -> None:
        """Tolerate a few overflows, with which a loss scaler adjusts its scale."""
        if stepped:
            self.overflows = 0
        elif _step_due(runner):
            self.overflows += 1
        self.streak = 0 if _finite(terms) else self.streak + 1
        if self.overflows >= HOPELESS:
            what = f"the loss scaler skipped {HOPELESS} steps in a row, the gradient is not finite"
            raise NonFiniteError(self._message(runner, what, terms))
        if self.streak > self.tolerance:
            raise NonFiniteError(self._message(runner, "the loss is not finite", terms))
        if self.streak:
            runner.logger.warning(
                f"{_place(runner)}: {_shown(terms)}; the loss scaler skips this step "
                f"({self.streak} in a row, at most {self.tolerance})"
            )

    def _check_skipped(self, runner: Runner, terms: dict[str, float], norm: float) -> None:
        self.streak += 1
        what = "the gradient" if _finite(terms) else "the loss"
        # All processes share the gradient, so all of them reach this collective call.
        together = _shares_gradients(runner)
        message = self._message(runner, f"{what} is not finite", terms, norm, together)
        if self.streak > self.skip:
            raise NonFiniteError(message)
        self.statistics.restore()
        runner.logger.warning(
            f"{message}\n  this step is skipped ({self.streak} in a row, at most {self.skip})"
        )

    def _check_loss(self, runner: Runner, terms: dict[str, float], stepped: bool) -> None:
        message = self._message(runner, "the loss is not finite", terms)
        if stepped or not self.skip:
            raise NonFiniteError(message)
        self.statistics.restore()  # a checkpoint may be written before the step completes
        runner.logger.warning(
            f"{message}\n  the step is skipped if its accumulated gradient is not finite"
        )

    def _message(
        self,
        runner: Runner,
        what: str,
        terms: dict[str, float],
        norm: float | None = None,
        together: bool = False,
    ) -> str:
        values = terms if norm is None else {**terms, "gradient norm": norm}
        names = [name for batch in self._batches for name in sample_paths(batch)]
        samples = [self._shorten(names)]
        if together:
            gathered = all_gather_object((terms, names))
            samples = [
                f"of process {rank} ({_shown(its)}): {self._shorten(theirs)}"
                for rank, (its, theirs) in sorted(
                    enumerate(gathered), key=lambda one: _finite(one[1][0])
                )
            ]
        lines = "".join(f"  samples: {line}\n" for line in samples)
        return (
            f"{_place(runner)}: {what}: {_shown(values)}\n"
            f"{lines}"
            f"  last good checkpoint: {last_checkpoint(runner.work_dir) or 'none was written'}\n"
            "  (a lower learning rate, a longer warm-up or optim_wrapper.clip_grad may help; "
            "default_hooks.non_finite.skip=N skips up to N consecutive such steps)"
        )

    def _shorten(self, names: list[str]) -> str:
        if not names:
            return "the batch has no paths"
        more = f" and {len(names) - self.shown} more" if len(names) > self.shown else ""
        return ", ".join(names[: self.shown]) + more


def _finite(terms: dict[str, float]) -> bool:
    return all(map(math.isfinite, terms.values()))


def _shown(terms: dict[str, float]) -> str:
    return ", ".join(f"{name}={value:.4g}" for name, value in terms.items())


def _place(runner: Runner) -> str:
    return f"iteration {runner.iter + 1} (epoch {runner.epoch + 1})"


def _shares_gradients(runner: Runner) -> bool:
    """Whether all processes have the same gradients."""
    return isinstance(runner.model, DistributedDataParallel)


def _step_due(runner: Runner) -> bool:
    """Whether the optimizers step in this iteration rather than only accumulate."""
    return all(single.should_update() for single in optim_wrappers(runner.optim_wrapper))


def _value(runner: Runner, name: str, outputs: dict) -> float:
    history = runner.message_hub.log_scalars.get(f"train/{name}")
    return float(outputs[name] if history is None else history.data[0][-1])


def _sources(batch: Any) -> Any:
    """Metadata that identifies the samples of a batch, without their images."""
    return batch.get("data_samples") if hasattr(batch, "get") else batch


def sample_paths(batch: Any) -> list[str]:
    """Find the paths of the samples in a batch.

    Args:
        batch (Any): A batch from an MM data loader, or its data samples.

    Returns:
        list[str]: Paths or indices of the samples; empty if the batch holds neither.
    """
    batch = _sources(batch)
    if not isinstance(batch, (list, tuple)):
        return []
    found = []
    for sample in batch:
        names = (getattr(sample, key, None) for key in ("img_path", "sample_idx", "img_id"))
        found += [str(name) for name in names if name not in (None, "")][:1]
    return found
