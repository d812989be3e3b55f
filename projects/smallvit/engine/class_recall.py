"""Balanced accuracy and per-class recall."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric

from smallvit.registry import METRICS


@METRICS.register_module()
class ClassRecall(BaseMetric):
    """Balanced accuracy and the recall of each class, in percent.

    Reports ``recall/balanced_accuracy``, the mean recall over the classes that occur, and
    ``recall/{class}``. Nothing is reported if the classes are about equally frequent, because the
    accuracy is sufficient then.

    Args:
        min_ratio (float): Minimum ratio of the number of images of the most frequent class to
            that of the least frequent one. Defaults to 1: always reported.
        **kwargs: Arguments of :class:`mmengine.evaluator.BaseMetric`.
    """

    default_prefix = "recall"

    def __init__(self, min_ratio: float = 1.0, **kwargs) -> None:
        super().__init__(**kwargs)
        self.min_ratio = min_ratio

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Collect the predictions of a batch.

        Args:
            data_batch (dict): Not used.
            data_samples (Sequence[dict]): Predictions with one label each.

        Raises:
            ValueError: If an image has several labels.
        """
        for sample in data_samples:
            label, predicted = sample["gt_label"], sample["pred_label"]
            if label.numel() != 1 or predicted.numel() != 1:
                raise ValueError("ClassRecall requires a classifier with one label per image")
            self.results.append((int(label), int(predicted)))

    def compute_metrics(self, results: list[tuple[int, int]]) -> dict[str, float]:
        """Compute the recalls.

        Args:
            results (list[tuple[int, int]]): Label and prediction of each image.

        Returns:
            dict[str, float]: Balanced accuracy, and the recall of each class that occurs.
        """
        labels, predicted = np.array(results, dtype=np.int64).reshape(-1, 2).T
        counts = np.bincount(labels)
        present = np.flatnonzero(counts)
        if not len(present) or counts[present].max() < self.min_ratio * counts[present].min():
            return {}
        right = np.bincount(labels[labels == predicted], minlength=len(counts))
        recalls = {index: 100 * float(right[index] / counts[index]) for index in present}
        names = (self.dataset_meta or {}).get("classes") or ()
        named = {
            str(names[index] if index < len(names) else index): recall
            for index, recall in recalls.items()
        }
        return {"balanced_accuracy": float(np.mean(list(recalls.values()))), **named}
