"""Significance tests, compared with published values or values computed by hand."""

import pytest

from smallvit.bench import chance
from smallvit.bench.chance import Difference, paired_difference, welch
from smallvit.bench.comparisons import Comparison, compare
from smallvit.bench.predictions import Predicted
from smallvit.bench.results import Summary
from smallvit.bench.settings import Run
from smallvit.errors import UserError

needs_statsmodels = pytest.mark.skipif(not chance.is_available(), reason="needs statsmodels")


@needs_statsmodels
def test_wilson():
    # Center (p + z^2 / 2n) / (1 + z^2 / n) with z = 1.96, p = 0.9, n = 100.
    low, high = chance.wilson(90.0, 100)
    assert (low, high) == pytest.approx((82.56, 94.48), abs=0.01)
    assert chance.wilson(100.0, 10)[1] == pytest.approx(100.0)


@needs_statsmodels
def test_mcnemar_is_a_binomial_test():
    one, other = [True] * 6 + [False] * 4, [True] * 1 + [False] * 9
    # Five images are only correct for the first: 2 / 2^5.
    assert chance.mcnemar(one, other) == pytest.approx(2 / 32)
    assert chance.mcnemar(one, one) == 1.0
    with pytest.raises(ValueError, match="shorter"):
        chance.mcnemar(one, other[:-1])


@needs_statsmodels
def test_holm():
    # Smallest p-value times three, the next times two, the last unchanged; non-decreasing.
    assert chance.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert chance.holm([]) == []


def test_seeds_and_guessing():
    assert chance.of_seeds([0.2]) == 0.2
    assert chance.of_seeds([0.01, 0.02, 0.9]) == 0.04
    assert chance.guessing([3, 1]) == 75.0


class TestPairedDifference:
    def test_interval(self):
        # Gains 6, 5 and 4: standard error 1/sqrt(3) = 0.57735, t(0.975) = 4.30265 with two
        # degrees of freedom.
        difference = paired_difference({0: 10.0, 1: 11.0, 2: 12.0}, {2: 8.0, 1: 6.0, 0: 4.0})
        assert difference.mean == 5
        assert difference.high - difference.mean == pytest.approx(2.48414, abs=1e-4)
        assert difference.low == pytest.approx(2 * 5 - difference.high)
        assert difference.p == pytest.approx(0.013, abs=1e-3)

    def test_what_seeds_share_does_not_count(self):
        one, other = {0: 50.0, 1: 60.0, 2: 70.0}, {0: 49.0, 1: 58.5, 2: 69.0}
        assert paired_difference(one, other).p < 0.05
        shuffled = {0: 58.5, 1: 69.0, 2: 49.0}
        assert paired_difference(one, shuffled).p > 0.5

    def test_further_methods_estimate_the_variance(self):
        one, other = {0: 60.0, 1: 61.0}, {0: 50.0, 1: 50.0}
        alone = paired_difference(one, other)
        more = [{0: 40.0, 1: 40.5}, {0: 10.0}]  # the last one lacks a seed
        pooled = paired_difference(one, other, more)
        assert pooled.mean == alone.mean == 10.5
        # Gains of the seeds +1, 0 and +0.5, so residuals -+0.25, +-0.25 and 0 in two columns.
        error = (2 * (4 * 0.25**2) / 2 / 2) ** 0.5
        assert pooled.high - pooled.mean == pytest.approx(4.30265 * error, abs=1e-4)
        assert pooled.p < alone.p

    def test_block_design_agrees_with_a_linear_model(self):
        smf = pytest.importorskip("statsmodels.formula.api")
        pandas = pytest.importorskip("pandas")
        table = {"a": [62.1, 60.3, 64.0], "b": [58.8, 59.9, 60.1], "c": [41.0, 40.2, 44.4]}
        by_seed = {name: dict(enumerate(values)) for name, values in table.items()}
        rows = [(name, seed, y) for name, each in by_seed.items() for seed, y in each.items()]
        frame = pandas.DataFrame(rows, columns=["method", "seed", "y"])
        fitted = smf.ols("y ~ C(method) + C(seed)", frame).fit()
        tested = fitted.t_test("C(method)[T.b] = 0")
        ours = paired_difference(by_seed["a"], by_seed["b"], [by_seed["c"]])
        assert ours.p == pytest.approx(float(tested.pvalue))
        assert -ours.high == pytest.approx(float(tested.conf_int()[0][0]))

    def test_only_common_seeds_are_compared(self):
        difference = paired_difference({0: 90.0, 1: 50.0}, {0: 80.0, 2: 99.0})
        assert (difference.mean, difference.low, difference.p) == (10.0, None, None)
        difference = paired_difference({0: 90.0}, {1: 80.0, 2: 81.0})
        assert (difference.mean, difference.low, difference.p) == (9.5, None, None)

    def test_equal_differences(self):
        assert paired_difference({0: 90.0, 1: 80.0}, {0: 90.0, 1: 80.0}).p == 1
        # With 100 test images, two seeds are often equally far apart: no evidence of a difference.
        difference = paired_difference({0: 91.0, 1: 81.0}, {0: 90.0, 1: 80.0})
        assert difference == Difference(1.0, None, None, None, 2)
        one, other = ({n: 100 * (k + n) / 360 for n in range(2)} for k in (7, 6))
        assert paired_difference(one, other).p is None  # equal but for the rounding
        pair = (5, "vit", "dhvt", difference, None)
        assert Comparison(*pair, 0.5).verdict == "not testable with equal differences of the seeds"
        assert not Comparison(*pair, 0.001).differ


def test_welch():
    # Variances 1 and 4 with three seeds each: standard error sqrt(5/3) = 1.29099, degrees of
    # freedom (Welch) (5/3)^2 / ((1/3)^2/2 + (4/3)^2/2) = 50/17 = 2.941, t(0.975) = 3.2195.
    difference = welch([10.0, 11.0, 12.0], [4.0, 6.0, 8.0])
    assert difference.mean == 5
    assert difference.high - difference.mean == pytest.approx(4.1564, abs=2e-3)
    assert welch([90.0], [80.0, 81.0]) == Difference(9.5, None, None)


def answers(right):
    labels = [0] * len(right)
    images = [str(number) for number in range(len(right))]
    return Predicted(labels, [int(not each) for each in right], [1.0] * len(right), images)


@needs_statsmodels
class TestComparisons:
    summaries = {
        ("vit", 5): Summary({0: 90.0, 1: 91.0, 2: 92.0}, 1.0),
        ("dhvt", 5): Summary({0: 70.0, 1: 71.5, 2: 72.0}, 1.0),
        ("dwnet", 5): Summary({0: 89.0, 1: 91.0, 2: 92.0}, 1.0),
    }

    def runs(self, other):
        return {
            **{Run("vit", 5, seed, 9, 1): answers([True] * 20) for seed in range(3)},
            **{Run("dhvt", 5, seed, 9, 1): answers(other) for seed in range(3)},
        }

    def test_seeds_and_test_images_both_count(self):
        first, second = compare(self.summaries, [5], self.runs([False] * 20))
        assert (first.best, first.other, second.other) == ("vit", "dwnet", "dhvt")
        assert (first.verdict, second.verdict) == ("not significant", "significant")
        assert first.images is None  # no predictions
        assert second.images == pytest.approx(2 * 2 / 2**20)
        assert second.seeds < 0.001
        # The seeds differ significantly, but these test images do not.
        _, second = compare(self.summaries, [5], self.runs([True] * 18 + [False] * 2))
        assert second.verdict == "not significant"

    def test_different_images_are_not_paired(self):
        runs = self.runs([False] * 19)
        assert compare(self.summaries, [5], runs)[1].images is None

    def test_one_seed_only_compares_networks(self):
        pair = (5, "vit", "dhvt", Difference(9.0, None, None), None)
        assert Comparison(*pair, 0.001).verdict.startswith("the networks differ")
        assert Comparison(*pair, 0.5).verdict == "not testable with one seed"


def test_without_statsmodels_the_report_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "statsmodels", None)
    for name in [each for each in sys.modules if each.startswith("statsmodels.")]:
        monkeypatch.setitem(sys.modules, name, None)
    assert not chance.is_available()
    with pytest.raises(UserError, match="pip install statsmodels"):
        chance.wilson(50.0, 10)
    found = compare(TestComparisons.summaries, [5], {})
    assert [each.images for each in found] == [None, None]
    assert found[1].verdict == "significant"
