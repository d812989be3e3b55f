"""Convergence check of learning curves, on synthetic curves."""

import random

import pytest

from smallvit.bench.flat import Trend, to_prolong, trend, trends, undecided
from smallvit.bench.plan import Run

STEPS = [100 * number for number in range(1, 11)]
RUN = Run("vit", 50, 0, 1000, 10)


def curve(slope, noise=0.0, seed=0):
    """Accuracy per doubling of the steps, with noise, and a jump where the learning rate decays."""
    import math

    drawn = random.Random(seed)
    return [
        (at, 50 + slope * math.log2(at / 100) + drawn.gauss(0, noise) + 20 * (at > 800))
        for at in STEPS
    ]


def test_the_slope_is_measured_before_the_learning_rate_decays():
    found = trend([curve(3.0), curve(3.0)], 1000)
    assert found.gain == pytest.approx(3.0)
    assert found.rising
    assert found.text() == "still rising: +3.0 points per doubling of the steps (at least +3.0)"


def test_noise_does_not_rise():
    # At most one in twenty, the significance level of the test.
    found = [trend([curve(0.0, 1.0, 10 * n + k) for k in range(3)], 1000) for n in range(100)]
    assert sum(each.rising for each in found) <= 8
    found = [trend([curve(6.0, 1.0, 10 * n + k) for k in range(3)], 1000) for n in range(100)]
    assert sum(each.rising for each in found) >= 95


def test_a_slope_too_small_to_matter_is_flat():
    assert trend([curve(0.2)], 1000).low > 0
    assert not trend([curve(0.2)], 1000).rising
    assert trend([curve(0.2)], 1000).text().startswith("flat: +0.2")


def test_a_gain_within_the_noise_is_not_called_flat():
    assert not Trend(2.0, -0.6).rising
    assert Trend(2.0, -0.6).text().startswith("not significantly rising: +2.0")


def test_too_few_validations_give_no_trend():
    assert trend([[(500, 10.0), (700, 20.0)]], 1000).rising is None
    assert trend([[(500, 10.0)]], 1000) is None
    assert trend([[]], 1000) is None


def test_only_complete_groups_are_extended_up_to_a_limit():
    runs = [RUN, Run("vit", 50, 1, 1000, 10), Run("dhvt", 50, 0, 1000, 10)]
    results = {
        run: {"iters": 1000, "curve": curve(5.0 if run.method == "vit" else 0.0)} for run in runs
    }
    assert to_prolong(runs, results, 2) == {("vit", 50)}
    assert trends(results)["dhvt", 50].rising is False
    del results[runs[1]]
    assert to_prolong(runs, results, 2) == set()
    results[runs[1]] = results[RUN]
    longer = [run.prolonged() for run in runs]
    assert (longer[0].iters, longer[0].evals, longer[0].begun) == (2000, 20, 1000)
    # They still only have the results of the shorter runs.
    assert to_prolong(longer, dict(zip(longer, results.values(), strict=True)), 2) == set()
    longest = [run.prolonged() for run in longer]
    found = {run: {"iters": 4000, "curve": [(4 * a, b) for a, b in curve(5.0)]} for run in longest}
    assert to_prolong(longest, found, 2) == set()
    assert to_prolong(longest, found, 3) != set()


def test_methods_whose_curves_are_too_short_are_named():
    runs = [RUN, Run("dhvt", 50, 0, 20, 1), Run("dwnet", 50, 0, 20, 1)]
    results = {RUN: {"iters": 1000, "curve": curve(5.0)}, runs[1]: {"iters": 20, "curve": []}}
    assert undecided(runs, results) == ["dhvt"]  # the last has not finished
