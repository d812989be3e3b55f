"""Statistical tests: confidence intervals, paired tests and corrections for several comparisons."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from smallvit.errors import UserError

#: Confidence level of intervals; one minus the significance level of tests.
CONFIDENCE = 0.95
#: Rounding error of a difference in points, far below one test image.
ROUNDING = 1e-6
MISSING = (
    "statsmodels is not installed, so there are no intervals over test images, no paired tests "
    "and no correction for multiple comparisons: pip install statsmodels, then --report-only"
)

Result = TypeVar("Result")


def is_available() -> bool:
    """Check whether the tests can be computed.

    Returns:
        bool: Whether statsmodels is installed.
    """
    try:
        import statsmodels  # noqa: F401
    except ImportError:
        return False
    return True


def _needing(compute: Callable[[], Result]) -> Result:
    try:
        return compute()
    except ImportError as error:
        raise UserError(MISSING) from error


def wilson(accuracy: float, images: int) -> tuple[float, float]:
    """Compute the Wilson score interval of an accuracy over test images.

    Args:
        accuracy (float): Accuracy in percent, the mean over several seeds.
        images (int): Number of test images.

    Returns:
        tuple[float, float]: Lower and upper bound in percent.

    Raises:
        UserError: If statsmodels is not installed.
    """

    def compute() -> tuple[float, float]:
        from statsmodels.stats.proportion import proportion_confint

        right = accuracy / 100 * images
        return proportion_confint(right, images, alpha=1 - CONFIDENCE, method="wilson")

    low, high = _needing(compute)
    return 100 * float(low), 100 * float(high)


def mcnemar(one: Sequence[bool], other: Sequence[bool]) -> float:
    """Compare two networks on the same test images with McNemar's exact test.

    Args:
        one (Sequence[bool]): Whether the first network is correct, for each image.
        other (Sequence[bool]): Whether the second network is correct, for each image.

    Returns:
        float: Exact p-value of the binomial test on the images that one network alone gets right.

    Raises:
        UserError: If statsmodels is not installed.
        ValueError: If the numbers of images differ.
    """
    table = [[0, 0], [0, 0]]
    for first, second in zip(one, other, strict=True):
        table[first][second] += 1

    def compute() -> float:
        from statsmodels.stats.contingency_tables import mcnemar

        return mcnemar(table, exact=True).pvalue

    # Without such images statsmodels divides by zero.
    return min(1.0, float(_needing(compute))) if table[0][1] + table[1][0] else 1.0


@dataclass(frozen=True)
class Difference:
    """Difference between two methods.

    Args:
        mean (float): Mean difference over the seeds, in points.
        low (float | None): Lower end of its 95% interval; None without two common seeds, or if
            all of them differ by the same amount.
        high (float | None): Upper end of the interval, or None.
        p (float | None): p-value of the t-test. Defaults to None.
        seeds (int): Number of common seeds. Defaults to 1.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None = None
    seeds: int = 1


def paired_difference(
    one: Mapping[int, float],
    other: Mapping[int, float],
    more: Iterable[Mapping[int, float]] = (),
) -> Difference:
    """Compare two methods over the seeds that both have, as in a randomized block design.

    The runs of a seed share the training images and their order, so their accuracies are not
    independent. The variance that is left after the means of methods and seeds is estimated from
    all methods, because two or three seeds of two methods determine it poorly. Without further
    methods this is the paired t-test.

    Args:
        one (Mapping[int, float]): Accuracy of the first method by seed.
        other (Mapping[int, float]): Accuracy of the second method by seed.
        more (Iterable[Mapping[int, float]]): Accuracies of further methods; those that lack a seed
            of the two are not used. Defaults to none.

    Returns:
        Difference: First minus second method, with interval and p-value. Without a common seed,
        the difference of the means.
    """
    seeds = sorted(one.keys() & other.keys())
    if not seeds:
        means = (statistics.fmean(each.values()) for each in (one, other))
        return Difference(next(means) - next(means), None, None)
    mean = statistics.fmean(one[seed] - other[seed] for seed in seeds)
    if len(seeds) < 2:
        return Difference(mean, None, None)
    whole = [one, other, *(each for each in more if each.keys() >= set(seeds))]
    spread = _residuals([[each[seed] for seed in seeds] for each in whole])
    if max(map(abs, spread)) < ROUNDING:
        # Only the resolution of the test images hides the variation, so there is nothing to test.
        alike = abs(mean) < ROUNDING
        return Difference(mean, None, None, 1.0 if alike else None, len(seeds))
    from scipy.stats import t

    freedom = (len(whole) - 1) * (len(seeds) - 1)
    error = (2 * sum(each**2 for each in spread) / freedom / len(seeds)) ** 0.5
    reach = float(t.ppf((1 + CONFIDENCE) / 2, freedom)) * error
    p = 2 * float(t.sf(abs(mean) / error, freedom))
    return Difference(mean, mean - reach, mean + reach, p, len(seeds))


def _residuals(table: Sequence[Sequence[float]]) -> list[float]:
    """Subtract the means of methods (rows) and seeds (columns)."""
    rows = [statistics.fmean(row) for row in table]
    columns = [statistics.fmean(column) for column in zip(*table, strict=True)]
    whole = statistics.fmean(rows)
    return [
        value - mean - column + whole
        for row, mean in zip(table, rows, strict=True)
        for value, column in zip(row, columns, strict=True)
    ]


def welch(one: Sequence[float], other: Sequence[float]) -> Difference:
    """Compare two independent samples by Welch's t-test.

    Kept for programs that use version 0.1. The bench uses :func:`paired_difference`, because its
    methods share the subset of a seed.

    Args:
        one (Sequence[float]): Accuracies of one method.
        other (Sequence[float]): Accuracies of the other method.

    Returns:
        Difference: Mean of ``one`` minus mean of ``other``, with interval and p-value if both
        have at least two values that vary.
    """
    mean = statistics.fmean(one) - statistics.fmean(other)
    if min(len(one), len(other)) < 2 or len({*one}) == len({*other}) == 1:
        return Difference(mean, None, None)
    from scipy.stats import ttest_ind

    tested = ttest_ind(one, other, equal_var=False)
    interval = tested.confidence_interval(CONFIDENCE)
    return Difference(mean, float(interval.low), float(interval.high), float(tested.pvalue))


def of_seeds(values: Sequence[float]) -> float:
    """Combine the p-values of several seeds on the same test images.

    Twice their median is valid under any dependence between them (Rüger, 1978).

    Args:
        values (Sequence[float]): p-value of each seed.

    Returns:
        float: Combined p-value.
    """
    return values[0] if len(values) == 1 else min(1.0, 2 * statistics.median(values))


def holm(values: Sequence[float]) -> list[float]:
    """Correct p-values for multiple comparisons by Holm's method.

    Args:
        values (Sequence[float]): P-values of one family.

    Returns:
        list[float]: Corrected p-values in the same order.

    Raises:
        UserError: If statsmodels is not installed.
    """

    def compute() -> list[float]:
        from statsmodels.stats.multitest import multipletests

        return [float(each) for each in multipletests(list(values), method="holm")[1]]

    return _needing(compute) if values else []


def guessing(counts: Sequence[int]) -> float:
    """Compute the accuracy of always predicting the most frequent class.

    Args:
        counts (Sequence[int]): Number of test images of each class.

    Returns:
        float: Accuracy in percent.
    """
    return 100 * max(counts) / sum(counts)
