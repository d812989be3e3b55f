"""Results of the runs, their means, and differences between methods."""

from __future__ import annotations

import os
import os.path as osp
import shutil
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from smallvit.bench.methods import REFERENCE, TEACHER
from smallvit.bench.settings import COOLDOWN_BEGIN, Run
from smallvit.bench.stored import check_failure, check_result, check_seconds, read_or_tell
from smallvit.errors import UserError

RESULT, FAILURE, STORED = "result.json", "failure.json", "stored.json"
TRIAL, PRETRAINED = "trial.json", "pretraining.json"
#: Weights of a finished run, and of its pretraining.
WEIGHTS, BACKBONE = "model.pth", "backbone.pth"
#: Copy of a teacher's ``model.pth`` at the start of its first student; extending the teacher
#: overwrites the original.
TAUGHT = "teacher.pth"


@dataclass(frozen=True)
class Summary:
    """Summary of the runs of one method on one subset.

    Args:
        accuracies (Mapping[int, float]): Test accuracy in percent by seed.
        seconds (float): Mean training time of a run, including its teacher and pretraining.
        teacher_seconds (float): Part of ``seconds`` for the teacher. Defaults to 0.
        pretraining_seconds (float): Part of ``seconds`` for the pretraining. Defaults to 0.
    """

    accuracies: Mapping[int, float]
    seconds: float
    teacher_seconds: float = 0.0
    pretraining_seconds: float = 0.0

    @property
    def mean(self) -> float:
        """float: Mean accuracy."""
        return statistics.fmean(self.accuracies.values())

    @property
    def std(self) -> float | None:
        """float | None: Sample standard deviation; None for a single seed."""
        return statistics.stdev(self.accuracies.values()) if len(self.accuracies) > 1 else None

    def text(self) -> str:
        """Format mean and standard deviation.

        Returns:
            str: Text such as ``91.25 ± 0.40``; without the deviation for a single seed.
        """
        return f"{self.mean:.2f}" + ("" if self.std is None else f" ± {self.std:.2f}")


def read_results(out: str, runs: Iterable[Run]) -> tuple[dict[Run, dict], dict[Run, dict]]:
    """Read the results and failures of the runs of a bench.

    Args:
        out (str): Folder of the bench.
        runs (Iterable[Run]): Runs of the bench.

    Returns:
        tuple[dict[Run, dict], dict[Run, dict]]: Results of finished runs, and failures
        (``reason`` and ``log``) of failed runs. A run that failed when it was continued is in
        both.
    """
    results, failures = {}, {}
    for run in runs:
        folder = run.folder(out)
        result = read_or_tell(
            osp.join(folder, RESULT), check_result, "treating the run as unfinished"
        )
        if result is not None and run.method in (TEACHER, REFERENCE):
            path = osp.join(folder, STORED)
            stored = read_or_tell(path, check_seconds, "ignoring its time") or {}
            result["store_seconds"] = stored.get("seconds", 0.0)
        failure = read_or_tell(osp.join(folder, FAILURE), check_failure, "the reason is unknown")
        if result is not None:
            results[run] = result
        if failure is not None and (result is None or result["iters"] < run.iters):
            failures[run] = failure
    return results, failures


def summarize(results: Mapping[Run, dict]) -> dict[tuple[str, int | None], Summary]:
    """Summarize the results over the seeds.

    Args:
        results (Mapping[Run, dict]): Result of each finished run.

    Returns:
        dict[tuple[str, int | None], Summary]: Summaries by method and images per class.
    """
    teachers = {key: (run, results[run]) for key, run in teachers_of(results).items()}
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
            {run.seed: results[run]["accuracy"] for run in runs},
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
        dict[tuple[int | None, int], Run]: Run of the teacher, or else of the reference,
        which is the same network, by images per class and seed.
    """
    runs = list(runs)
    found = {}
    for method in (REFERENCE, TEACHER):
        found |= {(run.samples, run.seed): run for run in runs if run.method == method}
    return found


def _teaching(method: str, teacher: tuple[Run, dict] | None) -> float:
    if teacher is None or not is_guided(method):
        return 0.0
    run, result = teacher
    stored = result.get("store_seconds", 0.0) if "+guidance-offline" in method else 0.0
    # The students learn from the weights before a continuation, which repeats the steps in which
    # the learning rate decayed.
    doublings = max(0.0, result["iters"] / (run.begun or result["iters"]) - 1)
    return result["train_seconds"] / (1 + (2 - COOLDOWN_BEGIN) * doublings) + stored


def keep_teacher(path: str) -> None:
    """Copy the teacher's weights for its students, so that extending its run does not change them.

    Args:
        path (str): Path of the copy, beside the teacher's ``model.pth``; an existing one is kept.

    Raises:
        UserError: If the teacher has no weights.
    """
    if osp.isfile(path):
        return
    weights = osp.join(osp.dirname(path), WEIGHTS)
    if not osp.isfile(weights):
        raise UserError(
            f"{weights} does not exist, from which this run is guided: if the teacher has failed, "
            "see its reason; otherwise remove its folder. Then run the same command again"
        )
    own = f"{path}.{os.getpid()}"
    shutil.copyfile(weights, own)
    os.replace(own, path)


def is_guided(name: str) -> bool:
    """Check whether a method has a teacher, even if its config file no longer exists.

    Args:
        name (str): Name of the method.

    Returns:
        bool: Whether guidance is among its additions.
    """
    return "guidance" in name.partition("+")[2]


def ranking(
    summaries: Mapping[tuple[str, int | None], Summary], samples: Sequence[int | None]
) -> list[str]:
    """Rank methods by their mean accuracy over the subsets with results, best first.

    Methods without results on some subsets are ranked after those with all.

    Args:
        summaries (Mapping): Summaries as returned by :func:`summarize`.
        samples (Sequence[int | None]): Images per class of each subset, None for all.

    Returns:
        list[str]: Names of the methods.
    """
    names = list(dict.fromkeys(name for name, _ in summaries))

    def place(name: str) -> tuple[int, float]:
        means = [summaries[name, count].mean for count in samples if (name, count) in summaries]
        return len(samples) - len(means), -statistics.fmean(means)

    return sorted(names, key=place)
