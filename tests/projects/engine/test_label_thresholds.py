"""F1 scores and per-class thresholds, compared with values computed by hand."""

import numpy as np
import pytest
import torch

from smallvit.engine import LabelThresholds
from smallvit.engine.label_thresholds import best_threshold, f1


def test_f1():
    predicted, truth = np.array([1, 1, 0, 0], bool), np.array([1, 0, 1, 0], bool)
    assert f1(predicted, truth) == 50.0  # one true positive, two predicted, two positives
    assert f1(np.zeros(4, bool), truth) == 0.0
    assert f1(np.zeros(4, bool), np.zeros(4, bool)) == 0.0


def test_the_best_threshold_does_not_separate_equal_scores():
    truth = np.array([1, 0, 1, 0], bool)
    assert best_threshold(np.array([0.9, 0.8, 0.7, 0.1]), truth) == (0.7, 80.0)
    # Equal scores cannot be separated: taking all three gives 2 true positives, 3 predicted, 2
    # positives.
    assert best_threshold(np.array([0.8, 0.8, 0.8, 0.1]), truth) == (0.8, 80.0)


def sample(scores, labels):
    return {"pred_score": torch.tensor(scores), "gt_label": torch.tensor(labels)}


def test_each_class_that_occurs(caplog):
    metric = LabelThresholds()
    metric.dataset_meta = {"classes": ("red", "blue", "none")}
    metric.process({}, [sample([0.9, 0.2, 0.6], [0, 1]), sample([0.6, 0.1, 0.6], [])])
    found = metric.evaluate(2)
    assert found == {
        "thresholds/best_f1": 100.0,
        "thresholds/f1/red": pytest.approx(200 / 3),
        "thresholds/f1/blue": 0.0,
    }


def test_a_threshold_outside():
    with pytest.raises(ValueError, match="0 < thr < 1"):
        LabelThresholds(thr=1.0)
