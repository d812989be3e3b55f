"""What the bench trains, and for how long: decided before the first run, and kept."""

from __future__ import annotations

import json
import math
import os.path as osp
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from smallvit.bench.methods import REFERENCE, TEACHER, TEACHER_SIZE, Method
from smallvit.bench.paces import as_speeds, before_of, divide
from smallvit.bench.settings import COOLDOWN_BEGIN as COOLDOWN_BEGIN
from smallvit.bench.settings import Pace as Pace
from smallvit.bench.settings import Run, Settings, Speed
from smallvit.bench.settings import samples_label as samples_label
from smallvit.bench.settings import samples_slug as samples_slug
from smallvit.bench.stored import check_plan, reason_of
from smallvit.errors import UserError
from smallvit.utils.json_files import read_object

FILE = "plan.json"
#: How often a run is validated, at most; the best of these states is tested.
EVALUATIONS = 10
#: With fewer steps in between, a run would do little but validate and save.
STEPS_BETWEEN = 20
#: Largest part of a run's time that validation may take.
EVALUATION_SHARE = 0.2
#: Part of a guided run's time in which its teacher is trained.
TEACHER_SHARE = 0.25
#: Learning rates that are tried, over the recipe's, and the part of a run that a trial takes.
RATES, TRIAL_SHARE = (1.0, 0.3, 3.0), 0.1
#: Weights of the guidance that are tried before, with the recipe's rate; the first is the default.
WEIGHTS = ("2.5", "0.25", "balanced")
#: A cosine schedule with fewer steps compares nothing.
LEAST_ITERATIONS = 20
#: Runs in parallel slow each other down by different amounts; what is kept for that.
RESERVE = 0.05


def fit_into(seconds: float, speed: Speed) -> tuple[int, int]:
    """Find how many steps and validations fit into a time.

    Args:
        seconds (float): Of the whole run.
        speed (Speed): Of the method.

    Returns:
        tuple[int, int]: Steps and validations; no steps if there is not even time for one
        validation and the test.
    """
    free = seconds / (1 + RESERVE) - speed.setup - speed.test
    most = int(EVALUATION_SHARE * free / speed.val) if speed.val else EVALUATIONS
    for evals in range(min(EVALUATIONS, most), 0, -1):
        iters = math.floor((free - evals * speed.val) / speed.step)
        if evals <= evaluations(iters):
            return iters, evals
    return max(0, math.floor((free - speed.val) / speed.step)), 1


def evaluations(iters: int) -> int:
    """Tell how often a run is validated.

    Args:
        iters (int): Its steps.

    Returns:
        int: Validations, the one at the end included.
    """
    return max(1, min(EVALUATIONS, iters // STEPS_BETWEEN))


def least_seconds(speed: Speed) -> float:
    """Tell the shortest time of a run that makes sense.

    Args:
        speed (Speed): Of the method.

    Returns:
        float: Seconds.
    """
    # One step more than the least: what fit_into finds for this time must not round below it.
    steps = (LEAST_ITERATIONS + 1) * speed.step
    return (1 + RESERVE) * (speed.setup + speed.test + speed.val + steps)


def plan_runs(
    settings: Settings,
    methods: Sequence[Method],
    samples: Sequence[int | None],
    seeds: Sequence[int],
    train_images: Mapping[int | None, int],
    speeds: Mapping[str, Speed] | None = None,
    jobs: int = 1,
    widths: Mapping[str, int] | None = None,
    paces: Mapping[str, Pace] | None = None,
) -> list[Run]:
    """List all runs, in the order in which they are done: seed by seed.

    Of a budget in minutes, every run gets the same part of the time that all jobs have
    together. A guided run gives a quarter of its part to its teacher, which may serve
    several methods. Epochs and steps hold for teachers and students alike. A pretraining has
    its part of the time of its run, or of its steps, in as many of its own as cost the same.

    Args:
        settings (Settings): Settings of the bench.
        methods (Sequence[Method]): Methods to compare.
        samples (Sequence[int | None]): Training images per class, None for all.
        seeds (Sequence[int]): The seeds.
        train_images (Mapping[int | None, int]): Training images for each of ``samples``.
        speeds (Mapping[str, Speed], optional): Of each method, and of the teacher; needed
            for a budget in minutes. Defaults to None.
        jobs (int): Number of concurrent runs. Defaults to 1.
        widths (Mapping[str, int], optional): Of the networks whose width is not that of their
            config, by method. Defaults to None.
        paces (Mapping[str, Pace], optional): Of the pretraining of each method that has one.
            Defaults to None.

    Returns:
        list[Run]: The runs; a teacher is before those it teaches.

    Raises:
        UserError: If the budget is too small; the message says the least that will do.
    """
    names = [TEACHER] * needs_teacher(settings, methods) + _in_order(methods)
    paces = paces or {}
    lengths: dict[tuple[str, int | None], tuple[int, int]] = {}
    if settings.budget == "minutes":
        together = {**(speeds or {}), **as_speeds(paces)}
        lengths = _timed(settings, methods, samples, seeds, together, jobs)
    else:
        for count in samples:
            steps = _steps(settings, train_images[count])
            lengths |= {(name, count): (steps, evaluations(steps)) for name in names}
            for name, pace in paces.items():
                before, after = divide(settings.pretraining, steps, pace)
                lengths[name, count] = after, evaluations(after)
                lengths[before_of(name), count] = before, 1
    return [
        Run(
            *(name, count, seed, *lengths[name, count], (widths or {}).get(name, 0)),
            pretraining=lengths.get((before_of(name), count), (0, 0))[0],
        )
        for seed in seeds
        for count in samples
        for name in names
    ]


def needs_teacher(settings: Settings, methods: Sequence[Method]) -> bool:
    """Tell whether a teacher is trained besides the methods.

    Args:
        settings (Settings): Settings of the bench.
        methods (Sequence[Method]): Methods to compare.

    Returns:
        bool: False if none is guided, or the reference among the methods is the teacher too: the
        same network, trained on the same images for as many steps. Of a budget in minutes a
        teacher has a part of its student's time, which makes it another.
    """
    if not any(method.guided for method in methods):
        return False
    same = settings.budget != "minutes" and settings.image_size == TEACHER_SIZE
    return not (same and any(method.name == REFERENCE for method in methods))


def _in_order(methods: Sequence[Method]) -> list[str]:
    """A reference that teaches comes before those it teaches."""
    names = [method.name for method in methods]
    if any(method.guided for method in methods):
        names.sort(key=lambda name: name != REFERENCE)
    return names


def trial_steps(iters: int) -> int:
    """Tell the length of a trial of the learning rate.

    Args:
        iters (int): Steps of a run.

    Returns:
        int: Steps; 0 if they are too few to choose by.
    """
    steps = int(TRIAL_SHARE * iters)
    return steps if steps >= LEAST_ITERATIONS else 0


def _steps(settings: Settings, images: int) -> int:
    if settings.budget == "iters":
        return int(settings.amount)
    return max(1, math.ceil(settings.amount * images / settings.batch_size))


def _timed(settings, methods, samples, seeds, speeds, jobs) -> dict:
    runs = len(methods) * len(samples) * len(seeds)
    parts, part, needed = _shares(settings, methods, samples, seeds, speeds, jobs)
    hardest = max(needed, key=needed.get)
    if needed[hardest] > part:
        minutes = math.ceil(100 * needed[hardest] * runs / min(jobs, runs) / 60) / 100
        fitting = _fitting(settings, methods, samples, seeds, speeds, jobs)
        raise UserError(
            f"--budget-minutes {settings.amount:g} leaves {part:.1f} s to each of {runs} runs, "
            f"but {hardest} needs {needed[hardest]:.1f} s for {LEAST_ITERATIONS} steps: give at "
            f"least --budget-minutes {minutes:.2f}, or fewer methods, seeds or --samples-per-class"
            + (f"; this much fits: {fitting}" if fitting else "; not even one run of each fits")
        )
    fitted = {name: fit_into(parts[name], speeds[name]) for name in parts}
    return {(name, count): fitted[name] for name in parts for count in samples}


def _shares(settings, methods, samples, seeds, speeds, jobs) -> tuple[dict, float, dict]:
    """Time of each method's runs, of a run in the mean, and what the latter has to be at least."""
    runs = len(methods) * len(samples) * len(seeds)
    # With fewer runs than jobs, the other jobs have nothing to do.
    part = 60 * settings.amount * min(jobs, runs) / runs
    parts = {
        method.name: _without_trials(settings, part, speeds[method.name], len(seeds), method)
        * (1 - TEACHER_SHARE * method.guided)
        for method in methods
    }
    for method in methods:
        if method.pretraining:
            whole = parts[method.name]
            parts[before_of(method.name)] = settings.pretraining * whole
            parts[method.name] = whole - parts[before_of(method.name)]
    if any(method.guided for method in methods):
        parts[TEACHER] = part * TEACHER_SHARE
    needed = {name: least_seconds(speeds[name]) / (parts[name] / part) for name in parts}
    return parts, part, needed


def _fitting(settings, methods, samples, seeds, speeds, jobs) -> str | None:
    """The flags of the largest plan that has time for all methods, or None."""
    for several in (samples, samples[:1]):
        for count in range(len(seeds), 0, -1):
            tried = (settings, methods, several, seeds[:count], speeds, jobs)
            _, part, needed = _shares(*tried)
            if max(needed.values()) <= part:
                flags = f"--seeds {count}"
                if len(several) < len(samples):
                    flags += f" --samples-per-class {samples_slug(several[0])}"
                return flags
    return None


def _without_trials(
    settings: Settings, part: float, speed: Speed, seeds: int, method: Method
) -> float:
    """What is left of a run's time when its seeds have paid for the trials."""
    if not settings.search:
        return part
    # The recipe's rate is among the trials of the weight.
    trials = len(RATES) + method.guided * (len(WEIGHTS) - 1)
    training = 1 - settings.pretraining if method.pretraining else 1.0
    length = TRIAL_SHARE * training
    left = (part * seeds - trials * (speed.setup + speed.val)) / (seeds + trials * length)
    # Without trials if there is no time for them: runs that short are not tried either.
    steps = fit_into(training * left, speed)[0] if left > 0 else 0
    return left if trial_steps(steps) else part


def to_json(settings: Settings, data: dict, runs: Sequence[Run], extra: dict) -> str:
    """Write a plan.

    Args:
        settings (Settings): Settings of the bench.
        data (dict): Description of the data set.
        runs (Sequence[Run]): Runs of the bench.
        extra (dict): What else to keep.

    Returns:
        str: The content of ``plan.json``.
    """
    content = {"settings": asdict(settings), "data": data, "runs": [asdict(run) for run in runs]}
    return json.dumps(content | extra, indent=1)


def read_plan(out: str) -> dict | None:
    """Read the plan of a bench, if it has one.

    Args:
        out (str): Folder of the bench.

    Returns:
        dict | None: ``settings`` (Settings), ``data`` (dict), ``runs`` (list[Run]) and what
        else was kept.

    Raises:
        UserError: If the file is damaged.
    """
    path = osp.join(out, FILE)
    if not osp.lexists(path):
        return None
    try:
        plan = check_plan(read_object(path))
        plan["settings"] = Settings(**plan["settings"])
        plan["runs"] = [Run(**run) for run in plan["runs"]]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(
            f"{path} is no plan of this bench, or damaged ({reason_of(error)}); use another --out"
        ) from error
    return plan


def merge_plans(
    old: dict | None, settings: Settings, data: dict, runs: Sequence[Run]
) -> tuple[list[Run], list[Run]]:
    """Check that a bench can go on in a folder, and tell its runs.

    Args:
        old (dict | None): The plan in the folder, as :func:`read_plan` gives it.
        settings (Settings): Current settings.
        data (dict): Current description of the data set.
        runs (Sequence[Run]): Runs wanted now.

    Returns:
        tuple[list[Run], list[Run]]: The wanted runs, as long as they were planned before,
        and the old ones that are not wanted now.

    Raises:
        UserError: If what was trained there would not be comparable with what is wanted.
    """
    if old is None:
        return list(runs), []
    now = asdict(settings)
    changed = [
        f"{key} was {value!r} and is {now[key]!r} now"
        for key, value in asdict(old["settings"]).items()
        if value != now[key]
    ]
    if old["data"] != data:
        changed.append("the images have changed")
    if changed:
        raise UserError(
            f"the folder has a bench whose results would not be comparable: {'; '.join(changed)}. "
            "Use another --out, or the settings of before"
        )
    kept = {(run.method, run.samples, run.seed): run for run in old["runs"]}
    wanted = [kept.pop((run.method, run.samples, run.seed), run) for run in runs]
    return wanted, list(kept.values())
