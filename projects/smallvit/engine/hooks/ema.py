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
def ClassifierStepEMAHook(**kwargs) -> EMAHook:  # noqa: N802 the name of a type in configs
    """Build MMPretrain's ``EMAHook``, updated once an optimizer step.

    Args:
        **kwargs: Those of :class:`mmpretrain.engine.EMAHook`.

    Returns:
        EMAHook: The hook.
    """
    from mmpretrain.engine import EMAHook as ClassifierEMAHook

    return type("ClassifierStepEMAHook", (_OncePerStep, ClassifierEMAHook), {})(**kwargs)
