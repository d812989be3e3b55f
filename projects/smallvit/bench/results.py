"""What came out: results of the runs, their means, and what differs by more than chance."""

from __future__ import annotations

import os.path as osp
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from smallvit.bench.methods import REFERENCE, TEACHER
from smallvit.bench.settings import Run
from smallvit.bench.stored import check_failure, check_result, check_seconds, read_or_tell

RESULT, FAILURE, STORED = "result.json", "failure.json", "stored.json"
TRIAL, PRETRAINED = "trial.json", "pretraining.json"
#: What was a teacher's ``model.pth`` when its first student began; a prolonged teacher gets
#: another.
TAUGHT = "teacher.pth"


@dataclass(frozen=True)
class Summary:
    """The runs of one method on one subset.

    Args:
        accuracies (tuple[float, ...]): Test accuracy of each seed, in percent.
        seconds (float): Mean training time of a run, with its teacher's and pretraining's.
        teacher_seconds (float): Of these, the teacher's. Defaults to 0.
        pretraining_seconds (float): Of these, the pretraining's. Defaults to 0.
    """

    accuracies: tuple[float, ...]
    seconds: float
    teacher_seconds: float = 0.0
    pretraining_seconds: float = 0.0

    @property
    def mean(self) -> float:
        """float: Mean accuracy."""
        return statistics.fmean(self.accuracies)

    @property
    def std(self) -> float | None:
        """float | None: Standard deviation of a sample; None for a single seed."""
        return statistics.stdev(self.accuracies) if len(self.accuracies) > 1 else None

    def text(self) -> str:
        """Write mean and standard deviation.

        Returns:
            str: Such as ``91.25 ± 0.40``; a single seed has no deviation.
        """
        return f"{self.mean:.2f}" + ("" if self.std is None else f" ± {self.std:.2f}")


def read_results(out: str, runs: Iterable[Run]) -> tuple[dict[Run, dict], dict[Run, dict]]:
    """Read what the runs of a bench left.

    Args:
        out (str): Folder of the bench.
        runs (Iterable[Run]): Runs of the bench.

    Returns:
        tuple[dict[Run, dict], dict[Run, dict]]: Results, and failures (``reason`` and
        ``log``), of the runs that have some.
    """
    results, failures = {}, {}
    for run in runs:
        folder = run.folder(out)
        result = read_or_tell(osp.join(folder, RESULT), check_result, "the run has no result yet")
        if result is not None and run.method in (TEACHER, REFERENCE):
            path = osp.join(folder, STORED)
            stored = read_or_tell(path, check_seconds, "its time does not count") or {}
            result["store_seconds"] = stored.get("seconds", 0.0)
        failure = read_or_tell(osp.join(folder, FAILURE), check_failure, "its reason is not known")
        if result is not None:
            results[run] = result
        elif failure is not None:
            failures[run] = failure
    return results, failures


def summarize(results: Mapping[Run, dict]) -> dict[tuple[str, int | None], Summary]:
    """Average over the seeds.

    Args:
        results (Mapping[Run, dict]): Result of each finished run.

    Returns:
        dict[tuple[str, int | None], Summary]: By method and images per class.
    """
    teachers = {key: results[run] for key, run in teachers_of(results).items()}
    groups: dict[tuple[str, int | None], list[Run]] = {}
    for run in results:
        if run.method != TEACHER:
            groups.setdefault((run.method, run.samples), []).append(run)
    summaries = {}
    for key, runs in groups.items():
        teacher = [_teaching(key[0], teachers.get((run.samples, run.seed))) for run in runs]
        own = [results[run]["train_seconds"] for run in runs]
        before = [(results[run].get("pretraining") or {}).get("seconds", 0.0) for run in runs]
        summaries[key] = Summary(
            tuple(results[run]["accuracy"] for run in sorted(runs, key=lambda run: run.seed)),
            statistics.fmean(own) + statistics.fmean(teacher) + statistics.fmean(before),
            statistics.fmean(teacher),
            statistics.fmean(before),
        )
    return summaries


def teachers_of(runs: Iterable[Run]) -> dict[tuple[int | None, int], Run]:
    """Find the teacher of each subset and seed.

    Args:
        runs (Iterable[Run]): All runs of a bench.

    Returns:
        dict[tuple[int | None, int], Run]: The run of the teacher, or else of the reference,
        which is the same network, by images of each class and seed.
    """
    runs = list(runs)
    found = {}
    for method in (REFERENCE, TEACHER):
        found |= {(run.samples, run.seed): run for run in runs if run.method == method}
    return found


def _teaching(method: str, teacher: dict | None) -> float:
    if teacher is None or not is_guided(method):
        return 0.0
    stored = teacher.get("store_seconds", 0.0) if "+guidance-offline" in method else 0.0
    return teacher["train_seconds"] + stored


def is_guided(name: str) -> bool:
    """Tell whether a method has a teacher, even if its config file is gone by now.

    Args:
        name (str): The method.

    Returns:
        bool: Whether it has a teacher.
    """
    return "guidance" in name.partition("+")[2]


def ranking(
    summaries: Mapping[tuple[str, int | None], Summary], samples: Sequence[int | None]
) -> list[str]:
    """Order methods, best first: by their mean over the subsets that they have results for.

    Methods that lack a subset come behind those that have all.

    Args:
        summaries (Mapping): As :func:`summarize` gives them.
        samples (Sequence[int | None]): Images per class of each subset, None for all.

    Returns:
        list[str]: The methods.
    """
    names = list(dict.fromkeys(name for name, _ in summaries))

    def place(name: str) -> tuple[int, float]:
        means = [summaries[name, count].mean for count in samples if (name, count) in summaries]
        return len(samples) - len(means), -statistics.fmean(means)

    return sorted(names, key=place)


@dataclass(frozen=True)
class Difference:
    """By how much one method is better than another.

    Args:
        mean (float): Difference of the means, in points.
        low (float | None): Lower end of its 95% interval; None without at least two seeds
            each.
        high (float | None): Upper end.
        p (float | None): The p-value of Welch's test. Defaults to None.
    """

    mean: float
    low: float | None
    high: float | None
    p: float | None = None

    @property
    def verdict(self) -> str:
        """str: Whether the difference can be told from chance."""
        if self.low is None:
            return "one seed: cannot tell"
        return "within noise" if self.low <= 0 <= self.high else "beyond noise"


def welch(one: Sequence[float], other: Sequence[float]) -> Difference:
    """Compare two samples whose variances differ, by Welch's interval.

    Args:
        one (Sequence[float]): Accuracies of one method.
        other (Sequence[float]): Of the other.

    Returns:
        Difference: Of ``one`` over ``other``.
    """
    mean = statistics.fmean(one) - statistics.fmean(other)
    if min(len(one), len(other)) < 2:
        return Difference(mean, None, None)
    if not statistics.variance(one) + statistics.variance(other):
        return Difference(mean, mean, mean, 0.0 if mean else 1.0)
    from scipy.stats import ttest_ind

    tested = ttest_ind(one, other, equal_var=False)
    interval = tested.confidence_interval(0.95)
    return Difference(mean, float(interval.low), float(interval.high), float(tested.pvalue))
