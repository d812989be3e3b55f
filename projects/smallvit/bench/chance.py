"""What may be chance: of the test images, of the seeds, and of many comparisons at once."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from typing import TypeVar

from smallvit.errors import UserError

#: Intervals hold the truth in this part of all benches, and tests err in the rest.
CONFIDENCE = 0.95
MISSING = (
    "statsmodels is not installed, so there are no intervals of the test images, no paired tests "
    "and no correction for the number of comparisons: pip install statsmodels, then --report-only"
)

Result = TypeVar("Result")


def is_available() -> bool:
    """Tell whether the tests can be computed.

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
    """Find Wilson's interval of an accuracy: how far other test images might take it.

    Args:
        accuracy (float): In percent; of several seeds, their mean.
        images (int): Test images.

    Returns:
        tuple[float, float]: Its ends in percent.

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
    """Compare two networks on the same test images, by the images on which one alone is right.

    Args:
        one (Sequence[bool]): Whether the first is right, image by image.
        other (Sequence[bool]): Whether the second is.

    Returns:
        float: The exact p-value, that of a fair coin.

    Raises:
        UserError: If statsmodels is not installed.
        ValueError: If these are not the same images.
    """
    table = [[0, 0], [0, 0]]
    for first, second in zip(one, other, strict=True):
        table[first][second] += 1

    def compute() -> float:
        from statsmodels.stats.contingency_tables import mcnemar

        return mcnemar(table, exact=True).pvalue

    # With no such image statsmodels divides by zero of them.
    return min(1.0, float(_needing(compute))) if table[0][1] + table[1][0] else 1.0


def of_seeds(values: Sequence[float]) -> float:
    """Make one p-value of those of the seeds, which all looked at the same test images.

    Twice their median holds however they depend on each other (Rüger, 1978).

    Args:
        values (Sequence[float]): The p-value of each seed.

    Returns:
        float: The p-value.
    """
    return values[0] if len(values) == 1 else min(1.0, 2 * statistics.median(values))


def holm(values: Sequence[float]) -> list[float]:
    """Correct p-values for their number, by Holm's method.

    Args:
        values (Sequence[float]): P-values of one family.

    Returns:
        list[float]: Corrected, in the same order.

    Raises:
        UserError: If statsmodels is not installed.
    """

    def compute() -> list[float]:
        from statsmodels.stats.multitest import multipletests

        return [float(each) for each in multipletests(list(values), method="holm")[1]]

    return _needing(compute) if values else []


def guessing(counts: Sequence[int]) -> float:
    """Tell what a network reaches that always names the commonest class.

    Args:
        counts (Sequence[int]): Test images of each class.

    Returns:
        float: Accuracy in percent.
    """
    return 100 * max(counts) / sum(counts)
