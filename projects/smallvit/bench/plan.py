"""Plan of the bench: the runs and their lengths, decided before the first run."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from smallvit.bench.methods import REFERENCE, TEACHER, TEACHER_SIZE, Method
from smallvit.bench.paces import as_speeds, before_of, divide
from smallvit.bench.settings import COOLDOWN_BEGIN as COOLDOWN_BEGIN
from smallvit.bench.settings import BenchSettings, Run, Speed
from smallvit.bench.settings import Pace as Pace
from smallvit.bench.settings import samples_label as samples_label
from smallvit.bench.settings import samples_slug as samples_slug
from smallvit.bench.tasks import CLASSIFICATION, TASKS
from smallvit.bench.tasks import STEPS_BETWEEN as STEPS_BETWEEN
from smallvit.errors import UserError

#: Maximum number of validations of a run; the best of these checkpoints is tested.
EVALUATIONS = 10
#: Maximum fraction of a run's time for validation.
EVALUATION_SHARE = 0.2
#: Fraction of a guided run's time for training its teacher.
TEACHER_SHARE = 0.25
#: Learning rates to try, relative to the recipe's, and the length of a trial as fraction of a run.
RATES, TRIAL_SHARE = (1.0, 0.3, 3.0), 0.1
#: Minimum number of steps of a trial, and its maximum as fraction of a short run. After 50 steps
#: segmentors with different rates still predict the same frequent classes.
TRIAL_STEPS, MOST_TRIAL_SHARE = 100, 0.2
#: Guidance weights, tried first with the recipe's learning rate; the first is the default.
WEIGHTS = ("2.5", "0.25", "balanced")
#: Minimum number of steps of a run; shorter schedules do not allow a comparison.
LEAST_ITERATIONS = 20
#: Maximum number of steps of a run, far beyond what anyone trains.
MOST_STEPS = 10**9
#: Fraction of time reserved because parallel runs slow each other down by different amounts.
RESERVE = 0.05


def fit_into(seconds: float, speed: Speed) -> tuple[int, int]:
    """Compute the number of steps and validations that fit into a duration.

    Args:
        seconds (float): Duration of the whole run.
        speed (Speed): Measured speed of the method.

    Returns:
        tuple[int, int]: Steps and validations; no steps if there is no time for one validation
        and the test.
    """
    free = seconds / (1 + RESERVE) - speed.setup - speed.test
    most = int(EVALUATION_SHARE * free / speed.val) if speed.val else EVALUATIONS
    for evals in range(min(EVALUATIONS, most), 0, -1):
        iters = math.floor((free - evals * speed.val) / speed.step)
        if evals <= evaluations(iters):
            return iters, evals
    return max(0, math.floor((free - speed.val) / speed.step)), 1


def evaluations(iters: int, task: str = CLASSIFICATION) -> int:
    """Compute the number of validations of a run.

    Args:
        iters (int): Number of steps of the run.
        task (str): Task of the dataset. Defaults to "classification".

    Returns:
        int: Number of validations, including the one at the end.
    """
    return max(1, min(EVALUATIONS, iters // TASKS[task].between))


def least_seconds(speed: Speed) -> float:
    """Compute the minimum duration of a run.

    Args:
        speed (Speed): Measured speed of the method.

    Returns:
        float: Duration in seconds.
    """
    # One more step than the minimum, so that fit_into does not round below it.
    steps = (LEAST_ITERATIONS + 1) * speed.step
    return (1 + RESERVE) * (speed.setup + speed.test + speed.val + steps)


def plan_runs(
    settings: BenchSettings,
    methods: Sequence[Method],
    samples: Sequence[int | None],
    seeds: Sequence[int],
    train_images: Mapping[int | None, int],
    speeds: Mapping[str, Speed] | None = None,
    jobs: int = 1,
    widths: Mapping[str, int] | None = None,
    paces: Mapping[str, Pace] | None = None,
) -> list[Run]:
    """List all runs in execution order, seed by seed.

    A budget in minutes is divided equally among the runs, over all concurrent jobs. A guided
    run spends a quarter of its share on its teacher, which several methods may use. Epochs and
    steps apply to teachers and students alike. A pretraining replaces a fraction of its run's
    time, or of its steps, by as many pretraining steps as take the same time.

    Args:
        settings (BenchSettings): Settings of the bench.
        methods (Sequence[Method]): Methods to compare.
        samples (Sequence[int | None]): Training images per class, None for all.
        seeds (Sequence[int]): Random seeds.
        train_images (Mapping[int | None, int]): Number of training images for each of ``samples``.
        speeds (Mapping[str, Speed], optional): Speeds of the methods and the teacher; required
            for a budget in minutes. Defaults to None.
        jobs (int): Number of concurrent runs. Defaults to 1.
        widths (Mapping[str, int], optional): Widths, by method, of networks that differ from
            their config. Defaults to None.
        paces (Mapping[str, Pace], optional): Paces of the pretrainings, by method.
            Defaults to None.

    Returns:
        list[Run]: Runs; a teacher precedes its students.

    Raises:
        UserError: If the budget is too small; the message contains the minimum.
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
            lengths |= {(name, count): (steps, evaluations(steps, settings.task)) for name in names}
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


def needs_teacher(settings: BenchSettings, methods: Sequence[Method]) -> bool:
    """Check whether a separate teacher must be trained.

    Args:
        settings (BenchSettings): Settings of the bench.
        methods (Sequence[Method]): Methods to compare.

    Returns:
        bool: False if no method is guided, or if the reference among the methods can be the
        teacher: the same network, trained on the same images for the same number of steps. With
        a budget in minutes they differ, as a teacher has only a part of its student's time.
    """
    if not any(method.guided for method in methods):
        return False
    same = settings.budget != "minutes" and settings.image_size == TEACHER_SIZE
    return not (same and any(method.name == REFERENCE for method in methods))


def settle_teachers(
    settings: BenchSettings, wanted: Sequence[Run], rest: Sequence[Run], finished: Collection[Run]
) -> tuple[list[Run], list[Run]]:
    """Omit teachers that are not trained yet where the reference is the same network.

    Args:
        settings (BenchSettings): Settings of the bench.
        wanted (Sequence[Run]): Requested runs.
        rest (Sequence[Run]): Runs of earlier commands.
        finished (Collection[Run]): Runs with a result.

    Returns:
        tuple[list[Run], list[Run]]: Requested runs, and runs of earlier commands.
    """
    if settings.budget == "minutes" or settings.image_size != TEACHER_SIZE:
        return list(wanted), list(rest)
    usable = [*wanted, *(run for run in rest if run in finished and not run.begun)]
    known = {(run.samples, run.seed) for run in usable if run.method == REFERENCE}

    def needed(run: Run) -> bool:
        spare = run.method == TEACHER and (run.samples, run.seed) in known
        return run in finished or not spare

    return list(filter(needed, wanted)), list(filter(needed, rest))


def _in_order(methods: Sequence[Method]) -> list[str]:
    """Order methods so that a reference that is used as the teacher precedes its students."""
    names = [method.name for method in methods]
    if any(method.guided for method in methods):
        names.sort(key=lambda name: name != REFERENCE)
    return names


def trial_steps(iters: int) -> int:
    """Compute the length of a trial of the learning rate.

    Args:
        iters (int): Number of steps of the run.

    Returns:
        int: Number of steps; 0 if there are too few for a trial.
    """
    steps = int(TRIAL_SHARE * iters)
    if steps < LEAST_ITERATIONS:
        return 0
    return max(steps, min(TRIAL_STEPS, int(MOST_TRIAL_SHARE * iters)))


def _steps(settings: BenchSettings, images: int) -> int:
    per_unit = 1 if settings.budget == "iters" else images / settings.batch_size
    steps = settings.amount * per_unit
    if steps > MOST_STEPS:
        raise UserError(
            f"--{settings.budget} {settings.amount:g} is more than {MOST_STEPS:,} steps per run"
        )
    return max(1, math.ceil(steps))


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
            + (f"; this fits: {fitting}" if fitting else "; not even one run of each method fits")
        )
    fitted = {name: fit_into(parts[name], speeds[name]) for name in parts}
    return {(name, count): fitted[name] for name in parts for count in samples}


def _shares(settings, methods, samples, seeds, speeds, jobs) -> tuple[dict, float, dict]:
    """Time of each method's runs, mean time of a run, and its minimum by method."""
    runs = len(methods) * len(samples) * len(seeds)
    # With fewer runs than jobs, the other jobs are idle.
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
    """Flags of the largest plan that fits the budget with all methods, or None."""
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
    settings: BenchSettings, part: float, speed: Speed, seeds: int, method: Method
) -> float:
    """Time of a run after its seeds' shares of the trials are subtracted."""
    if not settings.search:
        return part
    # The trials of the weight include the recipe's learning rate.
    weighed = method.guided and not method.guidance_weight
    trials = len(RATES) + weighed * (len(WEIGHTS) - 1)
    training = 1 - settings.pretraining if method.pretraining else 1.0
    share = TRIAL_SHARE
    for _ in range(3):  # shorter runs have longer trials in proportion
        time = part * seeds - trials * (speed.setup + speed.val)
        left = time / (seeds + trials * share * training)
        steps = fit_into(training * left, speed)[0] if left > 0 else 0
        if not trial_steps(steps):  # no time for trials, or runs that are too short
            return part
        share = trial_steps(steps) / steps
    return left
