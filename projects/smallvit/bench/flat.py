"""Whether longer training would help: the slope of validation curves against their noise."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from smallvit.bench.plan import COOLDOWN_BEGIN, Run

#: Minimum gain in points that justifies twice the steps.
WORTH = 0.5
#: Significance level of the slope.
LEVEL = 0.05

Group = tuple[str, int | None]


@dataclass(frozen=True)
class Trend:
    """Gain of twice the steps, estimated before the learning rate decays.

    Args:
        gain (float): Points of validation accuracy for twice the steps.
        low (float | None): Lower bound of its one-sided 95% interval; None with too few
            validations.
    """

    gain: float
    low: float | None

    @property
    def rising(self) -> bool | None:
        """bool | None: Whether the curve still rises; None with too few validations."""
        return None if self.low is None else self.low > 0 and self.gain >= WORTH

    def text(self) -> str:
        """Format the trend for the report.

        Returns:
            str: Short description.
        """
        if self.low is None:
            return "too few validations"
        state = "still rising" if self.rising else "flat"
        if not self.rising and self.gain >= WORTH:
            state = "not significantly rising"
        return (
            f"{state}: {self.gain:+.1f} points per doubling of the steps (at least {self.low:+.1f})"
        )


def trend(curves: Sequence[Sequence[tuple[float, float]]], iters: int) -> Trend | None:
    """Fit lines of one slope to the validation curves of several seeds.

    The fit uses the second half of the phase with a constant learning rate, from 40% to
    80% of the steps: while the rate decays, every curve rises and then flattens, independently of
    what longer training would gain. Accuracy is regressed on the logarithm of the step.

    Args:
        curves (Sequence): For each seed, step and accuracy of each validation.
        iters (int): Number of steps of the runs.

    Returns:
        Trend | None: Trend, or None if no curve has two validations in that interval.
    """
    first, last = COOLDOWN_BEGIN / 2 * iters, COOLDOWN_BEGIN * iters
    parts = [
        [(math.log2(at), value) for at, value in curve if first <= at <= last] for curve in curves
    ]
    parts = [part for part in parts if len(part) > 1]
    if not parts:
        return None
    centered = [point for part in parts for point in _centered(part)]
    spread = sum(x * x for x, _ in centered)
    slope = sum(x * y for x, y in centered) / spread
    freedom = len(centered) - len(parts) - 1
    if freedom < 2:
        return Trend(slope, None)
    from scipy.stats import t

    rest = sum((y - slope * x) ** 2 for x, y in centered)
    error = math.sqrt(rest / freedom / spread)
    return Trend(slope, slope - float(t.ppf(1 - LEVEL, freedom)) * error)


def _centered(part: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    x = statistics.fmean(point[0] for point in part)
    y = statistics.fmean(point[1] for point in part)
    return [(point[0] - x, point[1] - y) for point in part]


def trends(results: Mapping[Run, dict]) -> dict[Group, Trend]:
    """Compute the trend of each method on each subset.

    Args:
        results (Mapping[Run, dict]): Results of the finished runs.

    Returns:
        dict[tuple[str, int | None], Trend]: Trends by method and images per class, except for
        runs without a stored curve.
    """
    groups: dict[Group, list[dict]] = {}
    for run, result in results.items():
        groups.setdefault((run.method, run.samples), []).append(result)
    found = {}
    for group, several in groups.items():
        longest = max(result["iters"] for result in several)
        curves = [each.get("curve", []) for each in several if each["iters"] == longest]
        each = trend(curves, longest)
        if each is not None:
            found[group] = each
    return found


def undecided(runs: Sequence[Run], results: Mapping[Run, dict]) -> list[str]:
    """List the methods with too few validations to see whether their curves still rise.

    Args:
        runs (Sequence[Run]): All requested runs.
        results (Mapping[Run, dict]): Results of the finished runs.

    Returns:
        list[str]: Names of the methods.
    """
    found = trends(results)
    groups = {(run.method, run.samples) for run in runs if run in results}
    return sorted({key[0] for key in groups if key not in found or found[key].rising is None})


def to_prolong(runs: Sequence[Run], results: Mapping[Run, dict], doublings: int) -> set[Group]:
    """Select methods and subsets whose curves still rise and whose runs are all finished.

    Args:
        runs (Sequence[Run]): All requested runs.
        results (Mapping[Run, dict]): Results of the finished runs.
        doublings (int): Maximum number of times that a run may be doubled.

    Returns:
        set[tuple[str, int | None]]: Method and images per class of the runs to extend.
    """
    incomplete = {
        (run.method, run.samples)
        for run in runs
        if run not in results or results[run]["iters"] < run.iters
    }
    longest = {
        (run.method, run.samples)
        for run in runs
        if run.iters >= (run.begun or run.iters) * 2**doublings
    }
    rising = {group for group, each in trends(results).items() if each.rising}
    return rising - incomplete - longest
