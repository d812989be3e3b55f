"""Hook that passes the calibration of a model to its metrics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.hooks import Hook
from mmengine.model import is_model_wrapper

from smallvit.errors import UserError
from smallvit.plugins.multi_exit.calibration import KEY, Calibration, check_exits
from smallvit.plugins.multi_exit.metrics import BudgetedBatch
from smallvit.plugins.multi_exit.storage import check_same, decode_calibration, readable
from smallvit.plugins.multi_exit.stored import EXTRA_STATE, to_tensor
from smallvit.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner
    from torch import nn


@HOOKS.register_module()
class CalibrationHook(Hook):
    """Pass the calibration of a :class:`MultiExitClassifier` to its metrics.

    The model loads the calibration with its state dict; for older checkpoints, which store it
    outside the state dict, it is added there. Training invalidates the thresholds, so
    checkpoints saved during training do not contain them.

    Args:
        dataloader (dict, optional): Config of a loader of held-out training images with test
            transforms, for metrics with ``eval_mode=2``. Defaults to None:
            ``calibration_dataloader`` of the config, which ``tools/multi_exit/calibrate.py``
            uses too.
        num_images (int, optional): Maximum number of images of the loader, chosen at random.
            Defaults to None, all.
        shape (tuple[int, int], optional): Height and width of the images for the FLOPs of a
            calibration with ``eval_mode=2``. Defaults to None, the size of the first image.
        policy (str | dict): Exit policy of a calibration with ``eval_mode=2``. Defaults to
            "max_softmax".
        with_temperature (bool): Whether a calibration with ``eval_mode=2`` fits temperatures.
            Defaults to False.
        rule (str): "geometric" or "search", how a calibration with ``eval_mode=2`` finds the
            thresholds. Defaults to "geometric", the paper's rule.
    """

    def __init__(
        self,
        dataloader: dict | None = None,
        num_images: int | None = None,
        shape: tuple[int, int] | None = None,
        policy: str | dict = "max_softmax",
        with_temperature: bool = False,
        rule: str = "geometric",
    ) -> None:
        self.dataloader = dataloader
        self.num_images = num_images
        self.shape = shape
        self.settings = dict(policy=policy, with_temperature=with_temperature, rule=rule)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Move the calibration of an older checkpoint into its state dict."""
        weights = checkpoint.get("state_dict", {})
        if KEY not in checkpoint:
            return
        calibration = readable(lambda: Calibration.from_dict(checkpoint[KEY]))
        if calibration is None:
            return
        check_exits(calibration, _bare(runner).num_exits)
        entries = [value for key, value in weights.items() if key.endswith(EXTRA_STATE)]
        for entry in entries:
            check_same(readable(lambda entry=entry: decode_calibration(entry)), calibration)
        if not entries:
            weights[EXTRA_STATE] = to_tensor(calibration.to_dict())

    def before_test_epoch(self, runner: Runner) -> None:
        """Pass the calibration to the metrics, after calibrating if a metric has eval_mode=2."""
        model = _bare(runner)
        metrics = [
            metric for metric in runner.test_evaluator.metrics if isinstance(metric, BudgetedBatch)
        ]
        if any(metric.eval_mode == 2 for metric in metrics):
            self._calibrate(runner, model)
        for metric in metrics:
            metric.calibration = model.calibration

    def _calibrate(self, runner: Runner, model: nn.Module) -> None:
        from smallvit.plugins.multi_exit.collect import calibrate_model
        from smallvit.plugins.multi_exit.serving import build_loader

        loader = build_loader(self._loader_config(runner), self.num_images)
        runner.logger.info(f"calibrating on {len(loader.dataset)} images")
        model.calibration = calibrate_model(model, loader, self.shape, **self.settings)

    def _loader_config(self, runner: Runner) -> dict:
        of_config = runner.cfg.get("calibration_dataloader")
        if self.dataloader is None and of_config is None:
            raise UserError(
                "eval_mode=2 calibrates on training images. Set calibration_dataloader in the "
                "config, or run tools/multi_exit/calibrate.py and set eval_mode=1"
            )
        if None not in (self.dataloader, of_config) and self.dataloader != of_config:
            raise UserError(
                "CalibrationHook.dataloader differs from calibration_dataloader of the config, "
                "which tools/multi_exit/calibrate.py uses. Set only calibration_dataloader"
            )
        return of_config if self.dataloader is None else self.dataloader


def _bare(runner: Runner) -> nn.Module:
    return runner.model.module if is_model_wrapper(runner.model) else runner.model
