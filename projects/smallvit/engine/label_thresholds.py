"""Metric for the score thresholds of multi-label classification."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import print_log

from smallvit.registry import METRICS


@METRICS.register_module()
class LabelThresholds(BaseMetric):
    """F1 score of each class at a given threshold and at the best threshold.

    Reports ``thresholds/f1/{class}`` at ``thr`` and ``thresholds/best_f1``, the mean over the
    classes at their best thresholds, in percent; a table of both and of the thresholds is logged.
    The best threshold is chosen on the images that are evaluated: use that of the validation
    images.

    Args:
        thr (float): Minimum score of a predicted label. Defaults to 0.5, as in the heads.
        **kwargs: Arguments of :class:`mmengine.evaluator.BaseMetric`.

    Raises:
        ValueError: If ``thr`` is not between 0 and 1.
    """

    default_prefix = "thresholds"

    def __init__(self, thr: float = 0.5, **kwargs) -> None:
        super().__init__(**kwargs)
        if not 0 < thr < 1:
            raise ValueError(f"LabelThresholds: expected 0 < thr < 1, got thr={thr}")
        self.thr = thr

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Collect the predictions of a batch.

        Args:
            data_batch (dict): Not used.
            data_samples (Sequence[dict]): Predictions with ``pred_score`` and ``gt_label``, or
                ``gt_score``.
        """
        for sample in data_samples:
            scores = sample["pred_score"].detach().float().cpu().numpy()
            if "gt_score" in sample:
                truth = sample["gt_score"].cpu().numpy() > 0
            else:
                truth = np.zeros(len(scores), bool)
                truth[sample["gt_label"].cpu().numpy().astype(np.int64)] = True
            self.results.append((scores, truth))

    def compute_metrics(self, results: list[tuple[np.ndarray, np.ndarray]]) -> dict[str, float]:
        """Compute F1 and the best thresholds.

        Args:
            results (list[tuple[np.ndarray, np.ndarray]]): Scores and labels of each image.

        Returns:
            dict[str, float]: ``best_f1``, and ``f1/{class}`` of each class that occurs.
        """
        scores, truth = (np.stack(each) for each in zip(*results, strict=True))
        names = (self.dataset_meta or {}).get("classes") or range(scores.shape[1])
        found, best, lines = {}, [], []
        for label in np.flatnonzero(truth.any(axis=0)):
            value = f1(scores[:, label] >= self.thr, truth[:, label])
            threshold, highest = best_threshold(scores[:, label], truth[:, label])
            found[f"f1/{names[label]}"] = value
            best.append(highest)
            lines.append(
                f"  {names[label]}: F1 {value:.2f} at {self.thr:g}, {highest:.2f} at "
                f"{threshold:.3f}; {int(truth[:, label].sum())} images"
            )
        print_log("\n".join(["F1 and best threshold of each class:", *lines]), "current")
        return {"best_f1": float(np.mean(best)) if best else 0.0, **found}


def f1(predicted: np.ndarray, truth: np.ndarray) -> float:
    """Compute F1 in percent.

    Args:
        predicted (np.ndarray): Predictions of one class, bool (N, ).
        truth (np.ndarray): Ground truth of the class, bool (N, ).

    Returns:
        float: F1, 0 without true positives.
    """
    right = int((predicted & truth).sum())
    total = int(predicted.sum()) + int(truth.sum())
    return 200 * right / total if total else 0.0


def best_threshold(scores: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """Find the threshold with the highest F1.

    Args:
        scores (np.ndarray): Scores of one class, (N, ).
        truth (np.ndarray): Ground truth of the class, bool (N, ).

    Returns:
        tuple[float, float]: Threshold, which is one of the scores, and F1 in percent.
    """
    order = np.argsort(-scores, kind="stable")
    right = np.cumsum(truth[order])
    values = 200 * right / (np.arange(1, len(scores) + 1) + truth.sum())
    # No threshold separates equal scores, so only the last of them is a candidate.
    last = np.append(scores[order][1:] != scores[order][:-1], True)
    place = int(np.argmax(np.where(last, values, -1)))
    return float(scores[order][place]), float(values[place])
