"""Text representation of predictions."""

import numpy as np

from smallvit.apis.structures import ClassPrediction

SCORES = np.array([0.2, 0.9, 0.6])


def test_one_class():
    found = ClassPrediction(("a", "b", "c"), (4, 4), SCORES, 1)
    assert (found.name, list(found.rows())) == ("b", [("b", 0.9)])


def test_several_classes():
    found = ClassPrediction(("a", "b", "c"), (4, 4), SCORES, 1, labels=(1, 2))
    assert (found.name, list(found.rows())) == ("b, c", [("b", 0.9), ("c", 0.6)])


def test_no_class():
    found = ClassPrediction(("a", "b", "c"), (4, 4), SCORES, 1, labels=())
    assert (found.name, list(found.rows())) == ("", [("", 0.9)])
