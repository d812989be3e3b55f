"""Balanced accuracy and per-class recall for imbalanced classification."""

from __future__ import annotations

from collections import Counter
from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from smallvit.datasets.labels import read_labels
from smallvit.datasets.parts import parts_of
from smallvit.engine.class_recall import ClassRecall
from smallvit.registry import HOOKS

#: Training images up to which labels are counted; those of ImageNet would delay every start.
MOST_COUNTED = 200_000


@HOOKS.register_module()
class ClassRecallHook(Hook):
    """Report balanced accuracy and per-class recall beside a classifier's top-1 accuracy.

    They are reported in validation and testing if the most frequent class has more than
    ``min_ratio`` times as many evaluated images as the least frequent one, because a classifier
    that always predicts the most frequent class has a high accuracy then, or as many training
    images, because the least frequent classes are then the hardest to learn.

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
        min_ratio = 1.0 if self._trains_imbalanced(runner) else self.min_ratio
        for split in ("val", "test"):
            evaluator = getattr(getattr(runner, f"_{split}_loop"), "evaluator", None)
            metrics = getattr(evaluator, "metrics", [])
            if any(map(_is_top1, metrics)) and not any(isinstance(m, ClassRecall) for m in metrics):
                metric = ClassRecall(min_ratio, collect_device=metrics[0].collect_device)
                metric.dataset_meta = metrics[0].dataset_meta
                metrics.append(metric)

    def _trains_imbalanced(self, runner: Runner) -> bool:
        loader = getattr(getattr(runner, "_train_loop", None), "dataloader", None)
        counts: Counter[int] = Counter()
        for part in parts_of(loader.dataset) if loader is not None else ():
            if not hasattr(part, "__len__") or len(part) > MOST_COUNTED:
                return False
            counts.update(label for labels in read_labels(part) or () for label in labels)
        return bool(counts) and max(counts.values()) > self.min_ratio * min(counts.values())


def _is_top1(metric: Any) -> bool:
    kinds = [f"{k.__module__.partition('.')[0]}.{k.__name__}" for k in type(metric).__mro__]
    return "mmpretrain.Accuracy" in kinds
