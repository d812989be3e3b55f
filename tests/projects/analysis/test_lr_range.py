"""Learning rate range test."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.optim import OptimWrapper
from torch import nn

from config_helpers import read_config
from smallvit.analysis.lr_range import RangeTest, _RisingRate, range_test
from smallvit.cli import run_tool
from smallvit.errors import UserError
from tool_helpers import load_tool

TOOL = load_tool("analysis_tools/lr_find.py")


def made(losses, rates=None):
    found = RangeTest()
    for rate, loss in zip(rates or np.geomspace(1e-5, 1, len(losses)), losses, strict=True):
        found.add(float(rate), float(loss))
    return found


def test_the_fastest_fall_and_the_lowest_loss_are_found():
    steps = np.linspace(-5, 0, 100)
    # Falls around 1e-3, has its minimum at 1e-2, and rises after it.
    losses = 2 - np.tanh(3 * (steps + 3)) + np.exp(4 * (steps + 1))
    rates = made(losses).suggestions()
    assert 3e-4 < rates["steepest"] < 1e-2
    assert 3e-4 < rates["tenth"] < 1e-2


def test_the_average_begins_at_the_first_loss():
    assert made([3.0] * 12).smoothed == pytest.approx([3.0] * 12)


@pytest.mark.parametrize("last", [math.nan, math.inf, 100.0])
def test_divergence_is_detected(last):
    assert not made([2.0] * 10).diverged
    assert made([2.0] * 10 + [last]).diverged


def test_too_few_steps_suggest_nothing():
    with pytest.raises(UserError, match="at least 10 steps, got 3"):
        made([1.0] * 3).suggestions()


def test_the_rate_rises_from_step_to_step():
    cfg = read_config("dwnet/dwnet-mini_digits.py")
    cfg.train_dataloader.batch_size = 4
    seen = []
    found = range_test(cfg, 1e-5, 1e-2, 11, seen.append)
    assert found.rates == pytest.approx(np.geomspace(1e-5, 1e-2, 11)[: len(found.rates)])
    assert seen == list(range(1, len(found.rates) + 1))
    assert all(math.isfinite(loss) for loss in found.losses)


def test_parameters_keep_their_multiple_of_the_rate():
    network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    groups = [dict(params=network[0].parameters(), lr=0.3), dict(params=network[1].parameters())]
    wrapper = OptimWrapper(torch.optim.SGD(groups, lr=0.1))
    hook = _RisingRate([1.0, 2.0], RangeTest())
    hook.before_train(SimpleNamespace(optim_wrapper=wrapper))
    for rate in (1.0, 2.0):
        hook.before_train_iter(None, 0)
        assert [group["lr"] for group in wrapper.optimizer.param_groups] == pytest.approx(
            [3 * rate, rate]
        )
        hook.after_train_iter(None, 0, outputs=dict(loss=torch.tensor(1.0)))


def test_it_is_drawn(tmp_path, capsys):
    from config_helpers import CONFIGS

    out = tmp_path / "made/lr.png"
    argv = [str(CONFIGS / "dwnet/dwnet-mini_digits.py"), "--num", "12", "--out", str(out)]
    options = ["--cfg-options", "train_dataloader.batch_size=4"]
    assert run_tool(TOOL.main, [*argv, *options]) == 0
    assert "steepest descent" in capsys.readouterr().out
    assert out.stat().st_size > 1000


@pytest.mark.parametrize("flags", [["--start", "1", "--end", "0.1"], ["--start", "0"]])
def test_rates_are_checked(flags, capsys):
    with pytest.raises(SystemExit):
        TOOL.parse_args(["c.py", *flags])
    assert "error: " in capsys.readouterr().err
