"""Steps of a bench: inspect the data, plan, train, measure, report."""

from __future__ import annotations

import argparse
import json
import os
import os.path as osp
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from smallvit.bench.asked import (
    check_out,
    check_samples,
    check_unlabeled,
    limit_validation,
    make_settings,
)
from smallvit.bench.cluster import hand_over
from smallvit.bench.findings import COST
from smallvit.bench.flat import to_prolong, undecided
from smallvit.bench.folder_lock import lock_folder, writing
from smallvit.bench.jobs import Jobs, change
from smallvit.bench.methods import (
    REFERENCE,
    SMALL,
    TEACHER,
    TEACHER_SIZE,
    Method,
    check_folders,
    parse_method,
)
from smallvit.bench.paces import find_paces
from smallvit.bench.plan import (
    FILE,
    Run,
    Speed,
    merge_plans,
    needs_teacher,
    plan_runs,
    read_plan,
    settle_teachers,
    to_json,
    trial_steps,
)
from smallvit.bench.progress import Display, open_display
from smallvit.bench.references import check_timm
from smallvit.bench.results import (
    TAUGHT,
    WEIGHTS,
    keep_teacher,
    read_results,
    teachers_of,
)
from smallvit.bench.scheduler import Job, Pool
from smallvit.bench.search import groups_to_search, search
from smallvit.bench.settings import Pace, steps_label
from smallvit.bench.sizes import PUBLISHED
from smallvit.bench.slots import loading_processes, make_slots
from smallvit.bench.stored import check_costs, read_or_tell
from smallvit.bench.tasks import CLASSIFICATION, DENSE_METHODS, check_method
from smallvit.bench.trying import find_speeds
from smallvit.bench.user_configs import config_digests
from smallvit.bench.watchers import Keeper, Silent
from smallvit.errors import UserError

DIGITS = "digits"
DEFAULT_METHODS = ["vit", "vit+shortcut", "dhvt", "dwnet", "resnet"]


def run_bench(args: argparse.Namespace) -> int:
    """Run or resume a bench.

    Args:
        args (argparse.Namespace): Arguments of ``tools/small_data_bench.py``.

    Returns:
        int: 1 if a run failed, else 0.
    """
    from smallvit.bench.outputs import write_outputs

    out = osp.abspath(args.out)
    if args.report_only:
        if read_plan(out) is None:
            raise UserError(f"no bench found in {out}; set --out to the folder of a bench")
        with writing(out):
            return write_outputs(out)
    methods = [parse_method(name) for name in dict.fromkeys(args.methods or [])]
    if args.data != DIGITS and not osp.exists(args.data):
        raise UserError(f"--data {args.data}: no such folder or file (or: --data {DIGITS})")
    check_unlabeled(args, methods)
    check_out(args, out)
    bench = Bench(args, out, methods)
    with writing(out):
        os.makedirs(out, exist_ok=True)
    with writing(out), lock_folder(out):
        bench.plan()
        bench.train()
        bench.measure()
        return write_outputs(out)


class Bench:
    """Bench with its plan and results in a folder.

    Args:
        args (argparse.Namespace): Command-line arguments.
        out (str): Folder of the bench.
        methods (Sequence[Method]): Methods to compare.
    """

    def __init__(self, args: argparse.Namespace, out: str, methods: Sequence[Method]) -> None:
        self.args, self.out, self.methods = args, out, list(methods)
        self.slots = make_slots(args.jobs, args.threads)
        os.environ["OMP_NUM_THREADS"] = self.slots[0]["OMP_NUM_THREADS"]
        self.pool, self.here = Pool(self.slots), None
        self.workers = loading_processes(args.workers, args.data == DIGITS, len(self.slots))
        if getattr(args, "launcher", "none") == "submitit":
            self.here = self.pool  # inspects the data and loads weights on this machine
            self.pool, self.slots, self.workers = hand_over(args, out, self.workers)

    def plan(self) -> None:
        """Inspect the data, decide which runs to train and for how long, and save the plan."""
        args = self.args
        print(f"inspecting {args.data}", flush=True)
        prepared = osp.join(self.out, "data")
        self.data = self._ask(Job("data", "look", (args.data, prepared), self._log("data")))
        task = self.data.get("task", CLASSIFICATION)
        if not self.methods:
            names = DEFAULT_METHODS if task == CLASSIFICATION else DENSE_METHODS
            self.methods = [parse_method(name) for name in names]
        for method in self.methods:
            check_method(method, task)
            check_timm(method)
        if args.val_per_class:
            limit_validation(self.data, args.val_per_class)
        size = args.image_size or self.data["image_size"]
        if args.data == DIGITS and size > SMALL:
            raise UserError(f"--image-size {size}: the digits are 8x8 pixels; {SMALL} at most")
        self.settings = make_settings(args, size, task, prepared)
        self.classes = len(self.data["classes"])
        samples = check_samples(args.samples_per_class, self.data)
        old = read_plan(self.out)
        self._check_folder(old)
        self.configs = config_digests(self.methods, old, self.out)
        self._obtain_weights(old)
        self.networks = self._fit((old or {}).get("networks") or {}, old)
        self.wanted, self.rest, self.speeds = self._runs(samples, old)
        self.chosen = list((old or {}).get("chosen") or [])
        self._apply_choices()
        self.commands = [*(old or {}).get("command", []), " ".join(map(shlex.quote, sys.argv))]
        self.save()

    def _check_folder(self, old: dict | None) -> None:
        """Check that no run in the folder could be taken for one of another method or plan."""
        planned = [] if old is None else [run.method for run in old["runs"]]
        check_folders([*planned, *(method.name for method in self.methods)])
        if old is None:
            for name in ("runs", "trials", COST):
                if osp.lexists(osp.join(self.out, name)):
                    raise UserError(
                        f"{self.out} contains {name} but no {FILE}, so that it is unknown with "
                        f"which settings it was made; use another --out, or remove {name}"
                    )

    def save(self) -> None:
        """Save the plan atomically."""
        from smallvit.utils.files import write_whole

        extra = {
            "command": self.commands,
            "speeds": self.speeds,
            "paces": self.paces,
            "jobs": len(self.slots),
            "networks": self.networks,
            "configs": self.configs,
            "chosen": self.chosen,
            "unavailable": self.former | self.unavailable,
        }
        write_whole(
            osp.join(self.out, FILE),
            to_json(self.settings, self.data, [*self.wanted, *self.rest], extra),
        )

    def _obtain_weights(self, old: dict | None) -> None:
        """Omit methods whose pretrained weights are unavailable; the report lists them."""
        self.unavailable: dict[str, str] = {}
        names = [method.name for method in self.methods if method.pretrained]
        told = (old or {}).get("unavailable") or {}
        self.former = {name: reason for name, reason in told.items() if name not in names}
        if not names:
            return
        print(f"loading the weights of {len(names)} pretrained networks", flush=True)
        arguments = (self.settings, names, self.classes)
        self.unavailable = self._ask(Job("weights", "obtain", arguments, self._log("weights")))
        for name, reason in self.unavailable.items():
            print(f"not measured: {name}: {reason}", flush=True)
        self.methods = [each for each in self.methods if each.name not in self.unavailable]
        if not self.methods:
            raise UserError("no method is left: all pretrained weights are unavailable (see above)")

    def _fit(self, known: dict[str, Any], old: dict | None) -> dict[str, Any]:
        """Find the widths of the networks for which they are not known."""
        if self.settings.sizes == PUBLISHED:
            return {}
        if old is not None:
            merge_plans(old, self.settings, self.data, [])  # fail before any work
        networks = {method.network for method in self.methods}
        if any(method.guided for method in self.methods) and self._teacher_has_size():
            networks.add(REFERENCE)
        missing = sorted(networks - set(known))
        if not missing:
            return known
        print(f"computing the widths of {len(missing)} networks", flush=True)
        arguments = (self.settings, missing, self.classes)
        return known | self._ask(Job("widths", "fit", arguments, self._log("widths")))

    def _teacher_has_size(self) -> bool:  # otherwise it has its own input size
        return self.settings.image_size == TEACHER_SIZE

    def _widths(self) -> dict[str, int]:
        found = {method.name: self._width(method.network) for method in self.methods}
        return found | {TEACHER: self._width(REFERENCE) if self._teacher_has_size() else 0}

    def _width(self, network: str) -> int:
        return self.networks.get(network, {}).get("width", 0)

    def _runs(
        self, samples: list[int | None], old: dict | None
    ) -> tuple[list[Run], list[Run], dict[str, Any]]:
        counts = self.data["counts"]["train"]
        images = {each: sum(counts) if each is None else each * len(counts) for each in samples}
        seeds = range(self.args.seeds)
        speeds = {}
        if self.settings.budget == "minutes":
            speeds = (old or {}).get("speeds") or {}
            if old is None:
                speeds = self._try_methods()
            missing = [method.name for method in self.methods if method.name not in speeds]
            if missing:
                raise UserError(
                    f"{self.out} divides its budget among other methods than "
                    f"{', '.join(missing)}; use another --out, or --iters, which can be extended"
                )
        known = {name: Speed(**speed) for name, speed in speeds.items()}
        widths = self._widths()
        self.paces = find_paces(
            self.methods,
            (old or {}).get("paces") or {},
            lambda name: Run(name, samples[0], 0, 1, 1, widths[name], pretraining=1),
            self._pace,
        )
        pretrained = [method.name for method in self.methods if method.pretraining]
        runs = plan_runs(
            *(self.settings, self.methods, samples, seeds, images, known, len(self.slots)),
            widths=widths,
            paces={name: Pace(**self.paces[name]) for name in pretrained},
        )
        merged = merge_plans(old, self.settings, self.data, runs)
        finished, _ = read_results(self.out, [*merged[0], *merged[1]])
        wanted, rest = settle_teachers(self.settings, *merged, finished)
        return wanted, rest, speeds

    def _try_methods(self) -> dict[str, dict[str, float]]:
        """Measure the speed of the methods, unless it is known from another budget."""
        names = [TEACHER] * needs_teacher(self.settings, self.methods)
        names += [method.name for method in self.methods]
        alike = {**asdict(replace(self.settings, amount=0.0)), "jobs": len(self.slots)}
        alike |= {"images": self.data["fingerprints"], "configs": self.configs}
        widths = self._widths()
        trials = {name: self._trial(Run(name, None, 0, 1, 1, widths[name])) for name in names}
        return find_speeds(self.out, alike, trials, self.pool, len(self.slots))

    def _trial(self, run: Run) -> Job:
        log = self._log(f"trial-{Method(run.method, run.method).slug}")
        arguments = (self.settings, run, self.classes, self.workers)
        return Job(f"trial of {run.method}", "trial", arguments, log)

    def _pace(self, run: Run) -> dict[str, float]:
        log = self._log(f"begin-{Method(run.method, run.method).slug}")
        arguments = (self.settings, run, self.classes, self.workers)
        return self._ask(Job(f"begin of {run.method}", "pace", arguments, log), self.pool)

    def train(self) -> None:
        """Select learning rates and weights, and train the runs without results.

        With a search or extended runs, all teachers are trained before their first student: the
        trials of a student need the same teacher as its runs.
        """
        guided = {method.name for method in self.methods if method.guided}
        names = {run.method for run in self.wanted}
        doublings = getattr(self.args, "until_flat", None)
        stages = [names - guided, names & guided]
        if not self.settings.search and not doublings:
            stages = [names]
        for stage in filter(None, stages):
            if self.settings.search:
                self._choose(stage)
            self._train(stage)
            if doublings and guided:
                self._keep_teachers()
            while doublings and self._prolong(stage, doublings):
                self._train(stage)

    def _keep_teachers(self) -> None:
        """Keep the weights for the students: a teacher trains for as many steps as they do."""
        runs = [*self.rest, *self.wanted]
        results, _ = read_results(self.out, runs)
        for run in teachers_of(runs).values():
            folder = run.folder(self.out)
            short = run in results and results[run]["iters"] == (run.begun or run.iters)
            if short and osp.isfile(osp.join(folder, WEIGHTS)):
                keep_teacher(osp.join(folder, TAUGHT))

    def _choose(self, names: set[str]) -> None:
        runs = [run for run in self.wanted if run.method in names]
        finished, _ = read_results(self.out, runs)
        groups = groups_to_search(runs, self.chosen, finished)
        if not self.chosen and not all(trial_steps(run.iters) for run in runs):
            print(
                "fewer than 200 steps: using the recipe's learning rate without trials", flush=True
            )
        if not groups:
            return
        found = search(groups, self._jobs(), self.pool, len(self.slots))
        for each in found:
            if each["trials"] or each["weights"]:
                self.chosen.append(each)
            else:  # not kept, so that the next command tries again
                print(f"{each['method']}: all trials failed, using the recipe's learning rate")
        self._apply_choices()
        self.save()

    def _apply_choices(self) -> None:
        """Apply the selected values to all seeds, including those added by later commands."""
        chosen = {
            (each["method"], each["samples"]): {
                "rate": each["rate"],
                "weight": each.get("weight", ""),
            }
            for each in self.chosen
        }
        self.wanted = change(self.wanted, chosen)

    def _train(self, names: set[str]) -> None:
        runs = [run for run in self.wanted if run.method in names]
        results, _ = read_results(self.out, runs)
        left = [run for run in runs if run not in results or results[run]["iters"] < run.iters]
        if len(left) < len(runs):
            print(f"{len(runs) - len(left)} of {len(runs)} runs are already finished", flush=True)
        if not left:
            return
        maker = self._jobs()
        jobs = {job.name: job for run in left for job in maker.training(run)}
        # A teacher with a result is no dependency.
        for job in jobs.values():
            job.needs = [name for name in job.needs if name in jobs]
        slots = len(self.slots)
        print(
            f"{len(left)} runs, {slots} at a time, {steps_label(left)} each, in {self.out}",
            flush=True,
        )
        shown = {run.name: run for run in left}
        with open_display(shown, len(self.slots)) as display:
            self.pool.run(list(jobs.values()), Keeper(display, shown, self.out))

    def _prolong(self, names: set[str], doublings: int) -> bool:
        """Double the runs whose curves still rise, and return whether there are any."""
        # A longer teacher would be of no use: its students have begun with the shorter one.
        runs = [run for run in self.wanted if run.method in names and run.method != TEACHER]
        results, _ = read_results(self.out, runs)
        rising = to_prolong(runs, results, doublings)
        if rising:
            longer = {(run.method, run.samples) for run in runs} & rising
            self.wanted = [
                run.prolonged() if (run.method, run.samples) in longer else run
                for run in self.wanted
            ]
            listed = ", ".join(sorted({method for method, _ in longer}))
            print(f"still rising, continued with twice the steps: {listed}", flush=True)
            self.save()
        elif undecided(runs, results):
            listed = ", ".join(undecided(runs, results))
            print(f"too few validations to see whether a curve still rises: {listed}", flush=True)
        return bool(rising)

    def _jobs(self) -> Jobs:
        runs = [*self.rest, *self.wanted]
        return Jobs(self.out, self.settings, self.classes, self.workers, runs)

    def measure(self) -> None:
        """Measure the costs of the requested networks, all in one job.

        Other methods in the plan are not measured, as this would execute their configs: those
        of earlier commands keep their earlier measurements.
        """
        from smallvit.utils.files import write_whole

        results, _ = read_results(self.out, self.wanted)
        widths = {run.method: run.width for run in results if run.method != TEACHER}
        widths |= dict.fromkeys(self.unavailable, 0)
        path = osp.join(self.out, COST)
        known = read_or_tell(path, check_costs, "measuring costs again") or {"methods": {}}
        if not widths or set(widths) <= set(known["methods"]):
            return
        print(f"measuring {len(widths)} methods in alternation", flush=True)
        arguments = (self.settings, widths, self.classes)
        job = Job("measuring", "measure", arguments, self._log("cost"))
        outcome = self.pool.run([job], Display({}, 1))[job.name]
        if outcome.reason is None:
            cost = {**outcome.value, "methods": known["methods"] | outcome.value["methods"]}
            write_whole(osp.join(self.out, COST), json.dumps(cost, indent=1))

    def _ask(self, job: Job, pool: Pool | None = None) -> Any:
        outcome = (pool or self.here or self.pool).run([job], Silent())[job.name]
        if outcome.reason:
            raise UserError(
                outcome.reason if outcome.user_error else f"{outcome.reason} (log: {job.log})"
            )
        return outcome.value

    def _log(self, name: str) -> str:
        return osp.join(self.out, "logs", f"{name}.txt")
