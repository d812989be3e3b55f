"""Metrics of a cascade: anytime accuracy and budgeted batch classification."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict

import torch
from mmengine.dist import master_only
from mmengine.evaluator import BaseMetric

from smallvit.plugins.multi_exit.calibration import Calibration, CalibrationError
from smallvit.registry import METRICS
from smallvit.utils.files import write_whole


class _ExitMetric(BaseMetric):
    """Base class that collects predictions of a :class:`MultiExitClassifier`."""

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Collect the predictions of a batch.

        Args:
            data_batch (dict): Not used.
            data_samples (Sequence[dict]): Predictions with labels.

        Raises:
            ValueError: If the predictions have no ``exit_index``.
        """
        for sample in data_samples:
            if "exit_index" not in sample:
                raise ValueError(
                    f"{type(self).__name__} requires predictions of a "
                    "smallvit.MultiExitClassifier, but these have no exit index"
                )
            label, predicted = int(sample["gt_label"]), int(sample["pred_label"])
            logits = sample.get("exit_logits")
            self.results.append(
                {
                    "label": label,
                    "right": predicted == label,
                    "exit_index": int(sample["exit_index"]),
                    "exit_logits": None if logits is None else logits.cpu(),
                }
            )


def _stack(results: Sequence[dict]) -> tuple[torch.Tensor, torch.Tensor]:
    logits = torch.stack([result["exit_logits"] for result in results], dim=1)
    return logits, torch.tensor([result["label"] for result in results])


@METRICS.register_module()
class AnytimeAccuracy(_ExitMetric):
    """Accuracy of each exit on all images.

    Reports ``anytime/exit{k}`` in percent, with k starting at 0. Reports nothing unless the
    inference mode is *anytime*, because the other modes do not run all exits.

    Args:
        topk (int): A prediction counts as correct if the label is among the ``topk`` highest
            logits. Defaults to 1.
        collect_device (str): Device on which distributed results are collected. Defaults to "cpu".
        prefix (str, optional): Prefix of the metric names. Defaults to None: "anytime".
    """

    default_prefix = "anytime"

    def __init__(self, topk: int = 1, collect_device: str = "cpu", prefix: str | None = None):
        super().__init__(collect_device, prefix)
        self.topk = topk

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Compute the accuracies from the collected predictions."""
        if results[0]["exit_logits"] is None:
            return {}
        logits, labels = _stack(results)
        best = logits.topk(self.topk, dim=2).indices
        right = (best == labels[None, :, None]).any(dim=2).double().mean(dim=1)
        return {f"exit{index}": 100 * float(value) for index, value in enumerate(right)}


@METRICS.register_module()
class BudgetedBatch(_ExitMetric):
    """Accuracy against mean cost over a sweep of thresholds.

    In *anytime* inference, applies all thresholds of the calibration to the logits and reports
    the accuracy of each exit and, for each margin, the cheapest operating point whose accuracy
    is at most that margin below the last exit's. In *budgeted* inference, reports the accuracy,
    the mean GFLOPs per image, and the share of images of each exit.

    The calibration comes from the checkpoint, through :class:`CalibrationHook`.

    Args:
        eval_mode (int): As in the official code: 0 repeats the results stored in the
            checkpoint; 1 uses the thresholds stored there; 2 calibrates again on the
            ``dataloader`` of the hook. Defaults to 1.
        margins (Sequence[float]): Percentage points below the last exit. Defaults to (0, 0.5, 1).
        out_file (str, optional): JSON file for the whole curve. Defaults to None.
        collect_device (str): Device on which distributed results are collected. Defaults to "cpu".
        prefix (str, optional): Prefix of the metric names. Defaults to None: "budgeted".

    Raises:
        ValueError: If ``eval_mode`` is unknown.
    """

    default_prefix = "budgeted"

    def __init__(
        self,
        eval_mode: int = 1,
        margins: Sequence[float] = (0, 0.5, 1),
        out_file: str | None = None,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        if eval_mode not in (0, 1, 2):
            raise ValueError(f"BudgetedBatch: expected eval_mode to be 0, 1 or 2, got {eval_mode}")
        self.eval_mode = eval_mode
        self.margins = tuple(margins)
        self.out_file = out_file
        self.calibration: Calibration | None = None

    def compute_metrics(self, results: list[dict]) -> dict[str, float]:
        """Compute the metrics from the collected predictions."""
        calibration = self.calibration
        if calibration is None:
            raise CalibrationError(
                "BudgetedBatch has no calibration. Test a checkpoint written by "
                "tools/multi_exit/calibrate.py, with smallvit.CalibrationHook in custom_hooks, or "
                "set eval_mode=2 and a dataloader of the hook"
            )
        if self.eval_mode == 0:
            if calibration.evaluation is None:
                raise CalibrationError(
                    "the checkpoint contains no evaluation. Set eval_mode to 1 or 2, or run "
                    "calibrate.py --evaluate"
                )
        elif results[0]["exit_logits"] is None:
            return self._served(calibration, results)
        else:
            calibration.evaluation = calibration.evaluate(*_stack(results))
        self._write(calibration)
        return self._summary(calibration)

    def _served(self, calibration: Calibration, results: list[dict]) -> dict[str, float]:
        exits = torch.tensor([result["exit_index"] for result in results])
        shares = torch.bincount(exits, minlength=calibration.num_exits).double() / len(exits)
        right = sum(result["right"] for result in results)
        return {
            "accuracy": 100 * right / len(results),
            "gflops": float(shares @ torch.tensor(calibration.flops, dtype=torch.float64)),
            **{f"share{index}": 100 * float(share) for index, share in enumerate(shares)},
        }

    def _summary(self, calibration: Calibration) -> dict[str, float]:
        curve = calibration.evaluation
        report = {f"exit{index}": value for index, value in enumerate(curve.anytime)}
        points = list(zip(curve.accuracy, curve.flops, strict=True))
        for margin in self.margins:
            enough = [point for point in points if point[0] >= curve.anytime[-1] - margin]
            if enough:
                accuracy, cost = min(enough, key=lambda point: point[1])
                report[f"accuracy_within_{margin:g}"] = accuracy
                report[f"gflops_within_{margin:g}"] = cost
        return report

    @master_only
    def _write(self, calibration: Calibration) -> None:
        if self.out_file is None:
            return
        os.makedirs(os.path.dirname(self.out_file) or ".", exist_ok=True)
        content = {"exit_gflops": calibration.flops, **asdict(calibration.evaluation)}
        write_whole(self.out_file, json.dumps(content, indent=1))
