"""The course of a bench: look at the data, plan, train, measure, report."""

from __future__ import annotations

import argparse
import json
import os
import os.path as osp
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from smallvit.bench.findings import COST
from smallvit.bench.methods import SMALL, TEACHER, Method, parse_method
from smallvit.bench.plan import (
    FILE,
    Run,
    Settings,
    Speed,
    merge_plans,
    plan_runs,
    read_plan,
    samples_label,
    to_json,
)
from smallvit.bench.progress import Display, open_display
from smallvit.bench.results import FAILURE, STORED, is_guided, read_results
from smallvit.bench.scheduler import Job, Outcome, Pool
from smallvit.bench.stored import check_costs, read_or_tell
from smallvit.errors import UserError
from smallvit.utils.locks import HeldError, hold, release

DIGITS = "digits"


def run_bench(args: argparse.Namespace) -> int:
    """Run a bench, or go on with it.

    Args:
        args (argparse.Namespace): What ``tools/small_data_bench.py`` was given.

    Returns:
        int: 1 if a run failed, else 0.
    """
    from smallvit.bench.outputs import write_outputs

    out = osp.abspath(args.out)
    if args.report_only:
        if read_plan(out) is None:
            raise UserError(f"there is no bench in {out}: --out names the folder of one")
        return write_outputs(out)
    methods = [parse_method(name) for name in dict.fromkeys(args.methods)]
    if args.data != DIGITS and not osp.isdir(args.data):
        raise UserError(f"--data {args.data}: no such folder (or: --data {DIGITS})")
    bench = Bench(args, out, methods)
    os.makedirs(out, exist_ok=True)
    with _alone(out):
        bench.plan()
        bench.train()
        bench.measure()
        return write_outputs(out)


class Bench:
    """A bench in its folder.

    Args:
        args (argparse.Namespace): What the user asked for.
        out (str): The folder.
        methods (Sequence[Method]): What to compare.
    """

    def __init__(self, args: argparse.Namespace, out: str, methods: Sequence[Method]) -> None:
        self.args, self.out, self.methods = args, out, list(methods)
        self.slots = make_slots(args.jobs, args.threads)
        os.environ["OMP_NUM_THREADS"] = self.slots[0]["OMP_NUM_THREADS"]
        self.pool = Pool(self.slots)
        self.workers = _loading_processes(args, len(self.slots))

    def plan(self) -> None:
        """Look at the data, decide what to train and for how long, and keep it."""
        args = self.args
        print(f"looking at {args.data}", flush=True)
        self.data = self._ask(Job("data", "describe", (args.data,), self._log("data")))
        size = args.image_size or self.data["image_size"]
        if args.data == DIGITS and size > SMALL:
            raise UserError(f"--image-size {size}: the digits have 8x8 pixels; {SMALL} at most")
        budget, amount = _budget(args)
        self.settings = Settings(
            args.data if args.data == DIGITS else osp.abspath(args.data),
            size,
            args.batch_size,
            not args.no_flip and args.data != DIGITS,
            budget,
            amount,
        )
        self.classes = len(self.data["classes"])
        samples = check_samples(args.samples_per_class, self.data)
        old = read_plan(self.out)
        self.wanted, rest, speeds = self._runs(samples, old)
        extra = {
            "command": [*(old or {}).get("command", []), " ".join(map(_quoted, sys.argv))],
            "speeds": speeds,
            "jobs": len(self.slots),
        }
        from smallvit.utils.files import write_whole

        write_whole(
            osp.join(self.out, FILE),
            to_json(self.settings, self.data, [*self.wanted, *rest], extra),
        )

    def _runs(
        self, samples: list[int | None], old: dict | None
    ) -> tuple[list[Run], list[Run], dict[str, Any]]:
        counts = self.data["counts"]["train"]
        images = {each: sum(counts) if each is None else each * len(counts) for each in samples}
        seeds = range(self.args.seeds)
        if self.settings.budget != "minutes":
            runs = plan_runs(self.settings, self.methods, samples, seeds, images)
            wanted, rest = merge_plans(old, self.settings, self.data, runs)
            return wanted, rest, {}
        speeds = (old or {}).get("speeds")
        if old is None:
            speeds = self._try_methods()
        known = {name: Speed(**speed) for name, speed in speeds.items()}
        missing = [method.name for method in self.methods if method.name not in known]
        if missing:
            raise UserError(
                f"{self.out} divides its minutes among other methods than {', '.join(missing)}; "
                "use another --out, or --iters, which can be extended"
            )
        runs = plan_runs(
            self.settings, self.methods, samples, seeds, images, known, len(self.slots)
        )
        wanted, rest = merge_plans(old, self.settings, self.data, runs)
        return wanted, rest, speeds

    def _try_methods(self) -> dict[str, dict[str, float]]:
        names = [TEACHER] * any(method.guided for method in self.methods)
        names += [method.name for method in self.methods]
        print(f"trying {len(names)} methods, a few seconds each", flush=True)
        jobs = [
            Job(
                f"trial of {name}",
                "trial",
                (self.settings, Run(name, None, 0, 1, 1), self.classes, self.workers),
                self._log(f"trial-{Method(name, name).slug}"),
            )
            for name in names
        ]
        outcomes = self.pool.run(jobs, Display({}, len(self.slots)))
        tried = {name: outcomes[job.name] for name, job in zip(names, jobs, strict=True)}
        speeds = {name: each.value for name, each in tried.items() if each.reason is None}
        if not speeds:
            reason = next(iter(tried.values())).reason
            raise UserError(f"no method can be trained; {names[0]}: {reason} (log: {jobs[0].log})")
        # One that cannot be trained gets its part all the same, and fails in it for the record.
        return {name: speeds.get(name, next(iter(speeds.values()))) for name in names}

    def train(self) -> None:
        """Train what has no result yet."""
        finished, _ = read_results(self.out, self.wanted)
        left = [run for run in self.wanted if run not in finished]
        if finished:
            print(f"{len(finished)} of {len(self.wanted)} runs are there already", flush=True)
        if not left:
            return
        jobs = [job for run in left for job in self._jobs(run, run in finished)]
        jobs = list({job.name: job for job in jobs}.values())
        print(
            f"{len(left)} runs, {len(self.slots)} at a time, {left[0].iters} to "
            f"{max(run.iters for run in left)} steps each, in {self.out}",
            flush=True,
        )
        with open_display({run.name: run for run in left}, len(self.slots)) as display:
            self.pool.run(jobs, _Keeper(display, {run.name: run for run in left}, self.out))

    def _jobs(self, run: Run, finished: bool) -> list[Job]:
        folder = run.folder(self.out)
        lesson, needs, before = None, [], []
        if is_guided(run.method):
            from smallvit.bench.recipe import Lesson

            teacher = Run(TEACHER, run.samples, run.seed, 1, 1)
            place = teacher.folder(self.out)
            features = osp.join(place, "features") if parse_method(run.method).offline else None
            lesson = Lesson(osp.join(place, "model.pth"), features)
            needs.append(teacher.name)
            if features is not None:
                needs.append(f"features, {samples_label(run.samples)}, seed {run.seed}")
                if not osp.isfile(osp.join(place, STORED)):
                    log = osp.join(place, "features.log")
                    arguments = (self.settings, teacher, self.classes, place, features)
                    before = [Job(needs[-1], "store", arguments, log, needs[:1])]
        arguments = (self.settings, run, self.classes, self.workers, folder, lesson)
        log = osp.join(folder, "log.txt")
        return [*before, Job(run.name, "train", arguments, log, needs)]

    def measure(self) -> None:
        """Measure what the networks that were asked for cost, all of them in one go.

        A plan may name other methods, whose configs would be run: those of earlier commands
        keep what was measured then.
        """
        from smallvit.utils.files import write_whole

        results, _ = read_results(self.out, self.wanted)
        names = sorted({run.method for run in results if run.method != TEACHER})
        path = osp.join(self.out, COST)
        known = read_or_tell(path, check_costs, "costs are measured again") or {"methods": {}}
        if not names or set(names) <= set(known["methods"]):
            return
        print(f"measuring {len(names)} methods in turns", flush=True)
        job = Job("measuring", "measure", (self.settings, names, self.classes), self._log("cost"))
        outcome = self.pool.run([job], Display({}, 1))[job.name]
        if outcome.reason is None:
            cost = {**outcome.value, "methods": known["methods"] | outcome.value["methods"]}
            write_whole(osp.join(self.out, COST), json.dumps(cost, indent=1))

    def _ask(self, job: Job) -> Any:
        outcome = self.pool.run([job], _Silent())[job.name]
        if outcome.reason:
            raise UserError(
                outcome.reason if outcome.user_error else f"{outcome.reason} (log: {job.log})"
            )
        return outcome.value

    def _log(self, name: str) -> str:
        return osp.join(self.out, "logs", f"{name}.txt")


class _Silent:
    """A watcher that says nothing."""

    def started(self, job: Job) -> None: ...

    def progressed(self, job: Job, progress: dict) -> None: ...

    def ended(self, job: Job, outcome: Outcome) -> None: ...

    def tick(self) -> None: ...


class _Keeper:
    """Keep why a run failed, and hand everything on to the display."""

    def __init__(self, display: Display, runs: dict[str, Run], out: str) -> None:
        self.display, self.runs, self.out = display, runs, out
        self.started, self.progressed, self.tick = (
            display.started,
            display.progressed,
            display.tick,
        )

    def ended(self, job: Job, outcome: Outcome) -> None:
        from smallvit.utils.files import remove_quietly, write_whole

        if job.name in self.runs:
            path = osp.join(self.runs[job.name].folder(self.out), FAILURE)
            remove_quietly(path)
            if outcome.reason:
                os.makedirs(osp.dirname(path), exist_ok=True)
                log = osp.relpath(outcome.log, self.out)
                write_whole(path, json.dumps({"reason": outcome.reason, "log": log}))
        self.display.ended(job, outcome)


def make_slots(jobs: int | None, threads: int | None) -> list[dict[str, str]]:
    """Decide how many runs there are at a time, and what each of them gets.

    Args:
        jobs (int | None): How many; None for one on each GPU, or as many as there are
            cores for.
        threads (int | None): Of each run; None for 1 on CPU, for an equal part on GPUs.

    Returns:
        list[dict[str, str]]: Environment of each process.
    """
    import torch

    gpus = torch.cuda.device_count()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    if gpus:
        jobs = jobs or gpus
        share = str(threads or max(1, cores // jobs))
        return [
            {"OMP_NUM_THREADS": share, "CUDA_VISIBLE_DEVICES": _device(slot % gpus)}
            for slot in range(jobs)
        ]
    threads = threads or 1
    return [{"OMP_NUM_THREADS": str(threads)} for _ in range(jobs or max(1, cores // threads))]


def _device(index: int) -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    return visible.split(",")[index] if visible else str(index)


def _loading_processes(args: argparse.Namespace, jobs: int) -> int:
    if args.workers is not None:
        return args.workers
    # Digits are made faster than a process could hand them over; else what the runs leave free.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return 0 if args.data == DIGITS else max(0, min(4, cores // jobs - 1))


def _budget(args: argparse.Namespace) -> tuple[str, float]:
    for name in ("iters", "epochs"):
        if getattr(args, name) is not None:
            return name, getattr(args, name)
    return "minutes", args.budget_minutes


def check_samples(asked: Sequence[str], data: dict) -> list[int | None]:
    """Check that every class has as many images as are asked for.

    Args:
        asked (Sequence[str]): Numbers, or ``all``.
        data (dict): Description of the data.

    Returns:
        list[int | None]: The numbers in ascending order, None for all at the end.

    Raises:
        UserError: If a class has too few; the message names it.
    """
    counts = data["counts"]["train"]
    fewest = min(range(len(counts)), key=counts.__getitem__)
    numbers = sorted({int(each) for each in asked if each != "all"})
    if numbers and numbers[-1] > counts[fewest]:
        raise UserError(
            f"--samples-per-class {numbers[-1]}: class {data['classes'][fewest]!r} has only "
            f"{counts[fewest]} training images"
        )
    return [*numbers, *([None] if "all" in asked else [])]


def _quoted(argument: str) -> str:
    import shlex

    return shlex.quote(argument)


@contextmanager
def _alone(out: str) -> Iterator[None]:
    """Keep other benches out of the folder while this one works there."""
    name = osp.join(out, ".bench")
    try:
        hold(name, out, "bench")
    except HeldError as error:
        raise UserError(f"{error}: wait for it, or take another --out") from None
    try:
        yield
    finally:
        release(name)
