"""EMA hooks that count optimizer steps under gradient accumulation."""

from __future__ import annotations

from mmengine.hooks import EMAHook
from mmengine.runner import Runner

from smallvit.registry import HOOKS


class _OncePerStep:
    """Update the average after each optimizer step instead of after each batch."""

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Update the average if the batch completed an optimizer step."""
        if runner.optim_wrapper.should_update():
            super().after_train_iter(runner, batch_idx, data_batch, outputs)


@HOOKS.register_module()
class StepEMAHook(_OncePerStep, EMAHook):
    """MMEngine's ``EMAHook``, updated once per optimizer step.

    MMEngine's hook updates the average after each batch, which shortens its window by the number
    of accumulated batches.

    Args:
        **kwargs: Arguments of :class:`mmengine.hooks.EMAHook`.
    """


@HOOKS.register_module()
class KeptEMAHook(StepEMAHook):
    """Maintain an EMA of the weights that neither replaces them nor is evaluated.

    This follows DHVT's official code. Checkpoints contain the weights under ``state_dict`` and the
    EMA under ``ema_state_dict``; MMEngine's hook swaps the two.

    Args:
        **kwargs: Arguments of :class:`mmengine.hooks.EMAHook`.
    """

    #: Whether checkpoints store the EMA in place of the weights.
    exchanges = False

    def before_val_epoch(self, runner: Runner) -> None:
        """Validate the weights instead of the EMA."""

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Do nothing, as the weights were not swapped."""

    def before_test_epoch(self, runner: Runner) -> None:
        """Test the weights instead of the EMA."""

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Do nothing, as the weights were not swapped."""

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the EMA to the checkpoint."""
        checkpoint["ema_state_dict"] = self.ema_model.state_dict()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Restore the EMA of a resumed run, or start it from the loaded weights."""
        if runner._resume and "ema_state_dict" in checkpoint:
            state = checkpoint["ema_state_dict"]
            self.ema_model.load_state_dict(state, strict=self.strict_load)
        else:
            super().after_load_checkpoint(runner, checkpoint)


@HOOKS.register_module()
def ClassifierStepEMAHook(**kwargs) -> EMAHook:  # noqa: N802 the name of a type in configs
    """Build MMPretrain's ``EMAHook``, updated once per optimizer step.

    Args:
        **kwargs: Arguments of :class:`mmpretrain.engine.EMAHook`.

    Returns:
        EMAHook: Instance of a subclass of MMPretrain's hook.
    """
    from mmpretrain.engine import EMAHook as ClassifierEMAHook

    return type("ClassifierStepEMAHook", (_OncePerStep, ClassifierEMAHook), {})(**kwargs)
