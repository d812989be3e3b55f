"""Balanced accuracy and per-class recall for imbalanced classification."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from smallvit.engine.class_recall import ClassRecall
from smallvit.registry import HOOKS


@HOOKS.register_module()
class ClassRecallHook(Hook):
    """Report balanced accuracy and per-class recall beside a classifier's top-1 accuracy.

    They are reported in validation and testing if the most frequent class has more than
    ``min_ratio`` times as many images as the least frequent one, because a classifier that always
    predicts the most frequent class has a high accuracy then.

    Args:
        enabled (bool): Whether the hook is active. Defaults to True.
        min_ratio (float): Class imbalance above which they are reported. Defaults to 2.
    """

    def __init__(self, enabled: bool = True, min_ratio: float = 2.0) -> None:
        self.enabled = enabled
        self.min_ratio = min_ratio

    def before_run(self, runner: Runner) -> None:
        """Add the metric to the evaluators that measure top-1 accuracy."""
        if not self.enabled:
            return
        for split in ("val", "test"):
            evaluator = getattr(getattr(runner, f"_{split}_loop"), "evaluator", None)
            metrics = getattr(evaluator, "metrics", [])
            if any(map(_is_top1, metrics)) and not any(isinstance(m, ClassRecall) for m in metrics):
                metric = ClassRecall(self.min_ratio, collect_device=metrics[0].collect_device)
                metric.dataset_meta = metrics[0].dataset_meta
                metrics.append(metric)


def _is_top1(metric: Any) -> bool:
    kinds = [f"{k.__module__.partition('.')[0]}.{k.__name__}" for k in type(metric).__mro__]
    return "mmpretrain.Accuracy" in kinds
