"""Comparison of the best method with the others: tests over seeds and images, corrected."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from smallvit.bench import chance
from smallvit.bench.chance import Difference
from smallvit.bench.predictions import Predicted
from smallvit.bench.results import Summary, ranking
from smallvit.bench.settings import Run

Group = tuple[str, int | None]
LEVEL = 1 - chance.CONFIDENCE


@dataclass(frozen=True)
class Comparison:
    """Comparison of the best method with another one.

    Args:
        samples (int | None): Training images per class, None for all.
        best (str): Best method on the subset.
        other (str): Method that is compared with it.
        difference (Difference): Best minus other, with the interval of the t-test over the seeds.
        seeds (float | None): p-value of the t-test, corrected; None with one seed.
        images (float | None): McNemar's p-value, corrected; None without predictions of
            both methods on the same images.
    """

    samples: int | None
    best: str
    other: str
    difference: Difference
    seeds: float | None
    images: float | None

    @property
    def differ(self) -> bool:
        """bool: Whether all available tests are significant, including that over seeds."""
        known = [each for each in (self.seeds, self.images) if each is not None]
        return self.seeds is not None and all(each < LEVEL for each in known)

    @property
    def verdict(self) -> str:
        """str: Whether the difference is significant, in words."""
        if self.seeds is None:
            why = "one seed" if self.difference.seeds < 2 else "equal differences of the seeds"
            if self.images is not None and self.images < LEVEL:
                return f"the networks differ; {why} cannot show whether the methods do"
            return f"not testable with {why}"
        return "significant" if self.differ else "not significant"


def compare(
    summaries: Mapping[Group, Summary],
    samples: Sequence[int | None],
    tested: Mapping[Run, Predicted],
) -> list[Comparison]:
    """Compare the best method on each subset with all others.

    Args:
        summaries (Mapping): Summaries by method and images per class.
        samples (Sequence[int | None]): Images per class of each subset, None for all.
        tested (Mapping[Run, Predicted]): Predictions of the runs that stored them.

    Returns:
        list[Comparison]: Comparisons, with p-values corrected by Holm's method over all of them
        if statsmodels is installed.
    """
    found = list(_pairs(summaries, samples, tested))
    seeds = _corrected([each.seeds for each in found])
    images = _corrected([each.images for each in found])
    return [
        Comparison(each.samples, each.best, each.other, each.difference, *corrected)
        for each, *corrected in zip(found, seeds, images, strict=True)
    ]


def _pairs(summaries, samples, tested) -> Iterator[Comparison]:
    for count in samples:
        there = {key: each for key, each in summaries.items() if key[1] == count}
        best, *others = ranking(there, [count]) or [None]
        for other in others:
            one, two = (summaries[name, count].accuracies for name in (best, other))
            more = [there[name, count].accuracies for name in others if name != other]
            difference = chance.paired_difference(one, two, more)
            images = _paired(tested, best, other, count) if chance.is_available() else None
            yield Comparison(count, best, other, difference, difference.p, images)


def _paired(
    tested: Mapping[Run, Predicted], best: str, other: str, count: int | None
) -> float | None:
    by_seed = {(run.method, run.seed): each for run, each in tested.items() if run.samples == count}
    values = []
    for (name, seed), one in by_seed.items():
        two = by_seed.get((other, seed))
        if name != best or two is None or (one.labels, one.images) != (two.labels, two.images):
            continue
        values.append(chance.mcnemar(one.correct, two.correct))
    return chance.of_seeds(values) if values else None


def _corrected(values: Sequence[float | None]) -> list[float | None]:
    known = [each for each in values if each is not None]
    corrected = iter(chance.holm(known) if chance.is_available() else known)
    return [None if each is None else next(corrected) for each in values]
