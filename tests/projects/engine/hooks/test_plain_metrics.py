"""Metrics that hooks compare must be numbers; errors name the setting of the hook."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from smallvit.engine.hooks.plain_metrics import PlainMetricsHook
from smallvit.errors import UserError
from toy_runs import ToyScore, toy_config, toy_train


def run_hook(value, **hook):
    runner = SimpleNamespace(hooks=[SimpleNamespace(**hook)])
    metrics = {"score": value}
    PlainMetricsHook().after_val_epoch(runner, metrics)
    return metrics["score"]


@pytest.mark.parametrize("setting", ["save_best", "monitor"])
@pytest.mark.parametrize(
    "value", [torch.ones(2), np.eye(2), [1.0, 2.0], {"a": 1.0}, "good"], ids=repr
)
def test_non_numeric_metrics_are_not_compared(setting, value):
    run_hook(value)
    run_hook(value, **{setting: "other"})
    with pytest.raises(UserError, match=f"{setting}='score' of SimpleNamespace is "):
        run_hook(value, **{setting: "score"})


@pytest.mark.parametrize("value", [1, 0.5, float("nan"), np.float32(1), torch.tensor(3.0)])
def test_numbers_are_compared(value):
    for setting in ("save_best", "monitor"):
        run_hook(value, **{setting: "score"})


def test_no_score():
    run_hook(None, save_best="score")
    with pytest.raises(UserError, match="monitor='score'"):
        run_hook(None, monitor="score")


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (None, "ToyScore.compute_metrics returned None: it must return a dict"),
        ([0.5], r"ToyScore.compute_metrics returned \[0.5\]: it must"),
        ({"score": 1 + 2j}, "returned 'score': .*which cannot be logged"),
        ({"score": object()}, "returned 'score': <object"),
        ({3: 0.5}, "returned 3: 0.5, .*name must be a string"),
    ],
    # repr contains an address, and all processes of a run must agree on names.
    ids=["none", "list", "complex", "object", "number as name"],
)
def test_invalid_metrics_are_named(returned, said, tmp_path, monkeypatch):
    monkeypatch.setattr(ToyScore, "compute_metrics", lambda self, results: returned)
    with pytest.raises(UserError, match=said):
        toy_train(toy_config(tmp_path, epochs=1))


def test_the_best_of_matrices_cannot_be_saved():
    """``auto`` uses the first metric."""
    runner = SimpleNamespace(hooks=[SimpleNamespace(save_best="auto")])
    with pytest.raises(UserError, match="save_best='score' of SimpleNamespace is "):
        PlainMetricsHook().after_val_epoch(runner, {"score": np.eye(2), "other": 1.0})
    PlainMetricsHook().after_val_epoch(runner, {"other": 1.0, "score": np.eye(2)})
