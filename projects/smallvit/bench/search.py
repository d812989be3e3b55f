"""The learning rate of each method: chosen on the validation images, by short trials."""

from __future__ import annotations

import math
import os.path as osp
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from smallvit.bench.jobs import Jobs
from smallvit.bench.methods import TEACHER
from smallvit.bench.plan import RATES, Run, trial_steps
from smallvit.bench.progress import open_display
from smallvit.bench.results import TRIAL
from smallvit.bench.scheduler import Pool
from smallvit.bench.stored import check_trial, read_or_tell

Group = tuple[str, int | None]


def groups_to_search(
    runs: Sequence[Run], chosen: Iterable[Mapping], finished: Iterable[Run]
) -> dict[Group, Run]:
    """Find what has to be tried.

    Args:
        runs (Sequence[Run]): Runs that are wanted.
        chosen (Iterable[Mapping]): What was chosen before.
        finished (Iterable[Run]): Runs that have a result.

    Returns:
        dict[tuple[str, int | None], Run]: The run of the first seed, by method and images of
        each class. Teachers keep the recipe's rate, and so do runs too short for trials.
    """
    known = {(each["method"], each["samples"]) for each in chosen}
    known |= {(run.method, run.samples) for run in finished}
    found: dict[Group, Run] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        group = run.method, run.samples
        if group not in known and run.method != TEACHER and trial_steps(run.iters):
            found.setdefault(group, run)
    return found


def search_rates(groups: Mapping[Group, Run], jobs: Jobs, pool: Pool, slots: int) -> list[dict]:
    """Try the learning rates of some methods, and choose.

    Trials that were done before are not repeated.

    Args:
        groups (Mapping): As :func:`groups_to_search` gives them.
        jobs (Jobs): Makes the jobs.
        pool (Pool): Does them.
        slots (int): How many at a time.

    Returns:
        list[dict]: For each group ``method``, ``samples``, ``rate``, ``seconds`` of all trials,
        and ``trials``, the accuracy by the rate.
    """
    tried = {
        (group, rate): replace(run, iters=trial_steps(run.iters), evals=1, rate=rate)
        for group, run in groups.items()
        for rate in RATES
    }
    names = {key: f"rate {key[1]:g}" for key in tried}
    found = {key: _known(run, names[key], jobs) for key, run in tried.items()}
    left = {key: jobs.attempt(run, names[key]) for key, run in tried.items() if not found[key]}
    if left:
        steps = {tried[key].iters for key in left}
        print(
            f"choosing the learning rate: {len(left)} trials of {min(steps)} to {max(steps)} steps",
            flush=True,
        )
        shown = {each[-1].name: tried[key] for key, each in left.items()}
        todo = {job.name: job for each in left.values() for job in each}
        with open_display(shown, slots) as display:
            outcomes = pool.run(list(todo.values()), display)
        for key, each in left.items():
            outcome = outcomes[each[-1].name]
            found[key] = outcome.value if outcome.reason is None else None
    return [_choice(group, {rate: found[group, rate] for rate in RATES}) for group in groups]


def _known(run: Run, name: str, jobs: Jobs) -> dict | None:
    path = osp.join(jobs.trial_folder(run, name), TRIAL)
    found = read_or_tell(path, check_trial, "the trial is repeated")
    return found if found is not None and found["iters"] == run.iters else None


def _choice(group: Group, trials: Mapping[float, dict | None]) -> dict:
    done = {rate: trial for rate, trial in trials.items() if trial is not None}
    # Of equal ones, that which is nearest to the recipe's; without any, the recipe's.
    best = min(done, key=lambda rate: (-done[rate]["accuracy"], abs(math.log(rate))), default=1.0)
    return {
        "method": group[0],
        "samples": group[1],
        "rate": best,
        "seconds": sum(trial["seconds"] for trial in done.values()),
        "trials": {f"{rate:g}": trial["accuracy"] for rate, trial in done.items()},
    }
