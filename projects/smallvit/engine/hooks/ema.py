"""Exponential moving averages that count optimizer steps where gradients are accumulated."""

from __future__ import annotations

from mmengine.hooks import EMAHook
from mmengine.runner import Runner

from smallvit.registry import HOOKS


class _OncePerStep:
    """Update the average after each optimizer step instead of each batch."""

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch=None, outputs=None
    ) -> None:
        """Update the average if the batch completed an optimizer step.

        Args:
            runner (Runner): The runner.
            batch_idx (int): Number of the batch in the epoch.
            data_batch (dict, optional): The batch. Defaults to None.
            outputs (dict, optional): The loss terms. Defaults to None.
        """
        if runner.optim_wrapper.should_update():
            super().after_train_iter(runner, batch_idx, data_batch, outputs)


@HOOKS.register_module()
class StepEMAHook(_OncePerStep, EMAHook):
    """MMEngine's ``EMAHook``, updated once an optimizer step.

    MMEngine's own updates it after each batch, so that with gradient accumulation its window
    is shorter by that factor.

    Args:
        **kwargs: Those of :class:`mmengine.hooks.EMAHook`.
    """


@HOOKS.register_module()
class KeptEMAHook(StepEMAHook):
    """Keep an average beside the weights, and neither evaluate it nor put it in their place.

    DHVT's code does so. A checkpoint holds the weights under ``state_dict`` and the average
    under ``ema_state_dict``, where MMEngine's own hook exchanges the two.

    Args:
        **kwargs: Those of :class:`mmengine.hooks.EMAHook`.
    """

    #: Whether checkpoints hold the average in the place of the weights.
    exchanges = False

    def before_val_epoch(self, runner: Runner) -> None:
        """Validate the weights, not the average."""

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Exchange nothing back."""

    def before_test_epoch(self, runner: Runner) -> None:
        """Test the weights, not the average."""

    def after_test_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Exchange nothing back."""

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Add the average to a checkpoint.

        Args:
            runner (Runner): The runner that saves.
            checkpoint (dict): What will be saved, changed in place.
        """
        checkpoint["ema_state_dict"] = self.ema_model.state_dict()

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Take the average up when a training is resumed; else begin it with the weights.

        Args:
            runner (Runner): The runner that loads.
            checkpoint (dict): What was loaded.
        """
        if runner._resume and "ema_state_dict" in checkpoint:
            state = checkpoint["ema_state_dict"]
            self.ema_model.load_state_dict(state, strict=self.strict_load)
        else:
            super().after_load_checkpoint(runner, checkpoint)


@HOOKS.register_module()
def ClassifierStepEMAHook(**kwargs) -> EMAHook:  # noqa: N802 the name of a type in configs
    """Build MMPretrain's ``EMAHook``, updated once an optimizer step.

    Args:
        **kwargs: Those of :class:`mmpretrain.engine.EMAHook`.

    Returns:
        EMAHook: The hook.
    """
    from mmpretrain.engine import EMAHook as ClassifierEMAHook

    return type("ClassifierStepEMAHook", (_OncePerStep, ClassifierEMAHook), {})(**kwargs)
