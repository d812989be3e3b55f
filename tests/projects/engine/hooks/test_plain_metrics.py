"""Metrics that hooks compare are numbers, or the hook's setting is named."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from smallvit.engine.hooks.plain_metrics import PlainMetricsHook
from smallvit.errors import UserError


def run_hook(value, **hook):
    runner = SimpleNamespace(hooks=[SimpleNamespace(**hook)])
    metrics = {"score": value}
    PlainMetricsHook().after_val_epoch(runner, metrics)
    return metrics["score"]


@pytest.mark.parametrize("setting", ["save_best", "monitor"])
@pytest.mark.parametrize(
    "value", [torch.ones(2), np.eye(2), [1.0, 2.0], {"a": 1.0}, "good"], ids=repr
)
def test_what_is_no_number_is_not_compared(setting, value):
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
