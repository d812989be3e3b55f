"""Check that the weights with which a run starts, resumes or tests match its model."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import Runner
from torch import Tensor, nn

from smallvit.engine.checkpoint.fit import (
    describe_fit,
    measure_fit,
    require_fit,
    require_resized,
    snapshot_resizable,
    weights_of,
)
from smallvit.errors import CheckpointError
from smallvit.registry import HOOKS


@HOOKS.register_module()
class StartWeightsHook(Hook):
    """Refuse a checkpoint without matching weights, and report what is loaded.

    MMEngine only warns about mismatches and continues with random weights. A head for another
    number of classes is reinitialized, which is reported in one line. To resume, all weights must
    match.

    Args:
        enabled (bool): Whether the hook is active. Defaults to True.
    """

    #: Runs before hooks that copy weights, such as EMA.
    priority = "VERY_HIGH"

    def __init__(self, enabled: bool = True) -> None:
        self.enabled = enabled
        self._to_resize: dict[str, Tensor] = {}

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compare a checkpoint with the model before its weights are loaded; refuse mismatches."""
        if not self.enabled or not isinstance(checkpoint, dict):
            return
        model, state = _model(runner), weights_of(checkpoint)
        fit = measure_fit(model, state)
        source = str(runner._load_from)
        self._to_resize = snapshot_resizable(model, state)
        require_fit(fit, source, f"the config's {type(model).__name__}")
        if fit.complete:
            return
        if runner._resume:
            raise CheckpointError(
                f"cannot resume from the checkpoint of another model\n  {describe_fit(fit, source)}"
                "\n  (to start a new training from the matching weights, set load_from=FILE "
                "without --resume)"
            )
        runner.logger.warning(describe_fit(fit, source))
        _drop(checkpoint, fit.remade)

    def before_train(self, runner: Runner) -> None:
        """Refuse position embeddings of another size that were not resized."""
        require_resized(_model(runner), self._to_resize, str(runner._load_from))
        self._to_resize = {}


def _model(runner: Runner) -> nn.Module:
    model = runner.model
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def _drop(checkpoint: dict[str, Any], names: list[str]) -> None:
    state = checkpoint.get("state_dict", checkpoint)
    for name in [key for key in state if key.removeprefix("module.") in names]:
        del state[name]
