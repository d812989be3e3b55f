"""Selection of learning rates and guidance weights on the validation images by short trials."""

from __future__ import annotations

import math
import os.path as osp
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from smallvit.bench.jobs import Jobs
from smallvit.bench.methods import TEACHER, has_own_weight
from smallvit.bench.plan import RATES, WEIGHTS, Run, trial_steps
from smallvit.bench.progress import open_display
from smallvit.bench.recipe import several_labels
from smallvit.bench.results import TRIAL, is_guided
from smallvit.bench.scheduler import Pool
from smallvit.bench.settings import steps_label
from smallvit.bench.stored import check_trial, read_or_tell
from smallvit.bench.tasks import metric_name

Group = tuple[str, int | None]


def groups_to_search(
    runs: Sequence[Run], chosen: Iterable[Mapping], finished: Iterable[Run]
) -> dict[Group, Run]:
    """Select the methods and subsets that need trials.

    Args:
        runs (Sequence[Run]): Requested runs.
        chosen (Iterable[Mapping]): Earlier selections.
        finished (Iterable[Run]): Runs with a result.

    Returns:
        dict[tuple[str, int | None], Run]: Run of the first seed, by method and images per class.
        Teachers and runs that are too short for trials keep the recipe's learning rate.
    """
    known = {(each["method"], each["samples"]) for each in chosen}
    known |= {(run.method, run.samples) for run in finished}
    found: dict[Group, Run] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        group = run.method, run.samples
        if group not in known and run.method != TEACHER and trial_steps(run.iters):
            found.setdefault(group, run)
    return found


def search(groups: Mapping[Group, Run], jobs: Jobs, pool: Pool, slots: int) -> list[dict]:
    """Select the guidance weight, then the learning rate, of methods by trials.

    Finished trials are not repeated.

    Args:
        groups (Mapping): Runs as returned by :func:`groups_to_search`.
        jobs (Jobs): Factory of the jobs.
        pool (Pool): Pool that runs the jobs.
        slots (int): Number of concurrent jobs.

    Returns:
        list[dict]: For each group ``method``, ``samples``, ``rate``, ``weight``, ``seconds`` of
        all trials, and ``trials`` and ``weights``, the accuracies by the rate and the weight.
    """
    first = {
        group: [replace(run, weight=weight, rate=1.0) for weight in WEIGHTS]
        for group, run in groups.items()
        if is_guided(run.method) and not has_own_weight(run.method)
    }
    weighed = _try("guidance weight", first, jobs, pool, slots)
    weights = {group: _best(trials, WEIGHTS).weight for group, trials in weighed.items()}
    second = {
        group: [replace(run, weight=weights.get(group, ""), rate=rate) for rate in RATES]
        for group, run in groups.items()
    }
    rated = _try("learning rate", second, jobs, pool, slots)
    return [_choice(group, weighed.get(group, {}), rated[group]) for group in groups]


def _try(
    what: str, groups: Mapping[Group, Sequence[Run]], jobs: Jobs, pool: Pool, slots: int
) -> dict[Group, dict[Run, dict]]:
    """Run missing trials, and return the results of those that did not fail."""
    tried = {
        group: [replace(run, iters=trial_steps(run.iters), evals=1) for run in runs]
        for group, runs in groups.items()
    }
    runs = [run for several in tried.values() for run in several]
    left = {run: jobs.attempt(run, _name(run)) for run in runs if not _known(run, jobs)}
    if left:
        print(f"choosing the {what}: {len(left)} trials of {steps_label(left)}", flush=True)
        shown = {each[-1].name: run for run, each in left.items()}
        todo = {job.name: job for each in left.values() for job in each}
        for job in todo.values():
            job.needs = [name for name in job.needs if name in todo]  # others are finished
        metric = metric_name(jobs.settings.task, several_labels(jobs.settings.data))
        with open_display(shown, slots, metric) as display:
            pool.run(list(todo.values()), display)
    found = {group: {run: _known(run, jobs) for run in several} for group, several in tried.items()}
    return {
        group: {run: trial for run, trial in trials.items() if trial is not None}
        for group, trials in found.items()
    }


def _name(run: Run) -> str:
    return f"rate {run.rate:g}" + (f" weight {run.weight}" if run.weight else "")


def _known(run: Run, jobs: Jobs) -> dict | None:
    path = osp.join(jobs.trial_folder(run, _name(run)), TRIAL)
    found = read_or_tell(path, check_trial, "repeating the trial")
    return found if found is not None and found["iters"] == run.iters else None


def _best(trials: Mapping[Run, dict], weights: Sequence[str] = ("",)) -> Run:
    """Best trial; if several are equal or there are none, the one nearest to the recipe."""
    nothing = Run("", None, 0, 1, 1, weight=weights[0])
    return min(
        trials,
        key=lambda run: (
            -trials[run]["accuracy"],
            abs(math.log(run.rate)),
            weights.index(run.weight) if run.weight in weights else 0,
        ),
        default=nothing,
    )


def _choice(group: Group, weighed: Mapping[Run, dict], rated: Mapping[Run, dict]) -> dict:
    best = _best(rated)
    if weighed and not rated:
        best = _best(weighed, WEIGHTS)
    return {
        "method": group[0],
        "samples": group[1],
        "rate": best.rate,
        "weight": best.weight,
        "seconds": sum(trial["seconds"] for trial in {**weighed, **rated}.values()),
        "trials": {f"{run.rate:g}": trial["accuracy"] for run, trial in rated.items()},
        "weights": {run.weight: trial["accuracy"] for run, trial in weighed.items()},
    }
