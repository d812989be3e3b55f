"""Decisions of a bench before its first run: data, networks, runs and their lengths."""

from __future__ import annotations

import argparse
import os.path as osp
import shlex
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from smallvit.bench.asked import check_samples, limit_validation, make_settings
from smallvit.bench.findings import COST
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
from smallvit.bench.plan import Run, Speed, needs_teacher, plan_runs, settle_teachers
from smallvit.bench.plan_file import FILE, merge_plans, read_plan, to_json
from smallvit.bench.references import check_timm
from smallvit.bench.results import read_results
from smallvit.bench.scheduler import Job, Pool
from smallvit.bench.settings import Pace
from smallvit.bench.sizes import PUBLISHED, TOLERANCE
from smallvit.bench.table import short
from smallvit.bench.tasks import CLASSIFICATION, DENSE_METHODS, check_method
from smallvit.bench.trying import find_speeds
from smallvit.bench.user_configs import config_digests
from smallvit.bench.watchers import Silent
from smallvit.errors import UserError

DIGITS = "digits"
DEFAULT_METHODS = ["vit", "vit+shortcut", "dhvt", "dwnet", "resnet"]


class Planning:
    """Plan of a bench, stored in its folder.

    Args:
        args (argparse.Namespace): Command-line arguments.
        out (str): Folder of the bench.
        methods (Sequence[Method]): Methods to compare; empty for the default ones.
        pool (Pool): Pool that trains, on which speeds are measured.
        here (Pool): Pool on this machine, which inspects the data and loads weights.
        slots (int): Number of concurrent runs.
        workers (int): Data loader workers per run.

    Attributes:
        settings (BenchSettings): Settings of all runs.
        classes (int): Number of classes.
        wanted (list[Run]): Runs that the command trains.
        rest (list[Run]): Runs of earlier commands, and teachers.
        chosen (list[dict[str, Any]]): Learning rate and guidance weight of each group of runs,
            with their trials.
        unavailable (dict[str, str]): Omitted methods and the reasons.
    """

    def __init__(
        self,
        args: argparse.Namespace,
        out: str,
        methods: Sequence[Method],
        pool: Pool,
        here: Pool,
        slots: int,
        workers: int,
    ) -> None:
        self.args, self.out, self.methods = args, out, list(methods)
        self.pool, self.here, self.slots, self.workers = pool, here, slots, workers

    def decide(self) -> None:
        """Inspect the data, decide which runs to train and for how long, and save the plan.

        Raises:
            UserError: If the data, the arguments and the folder do not fit together.
        """
        args = self.args
        print(f"inspecting {args.data}", flush=True)
        prepared = osp.join(self.out, "data")
        arguments = (args.data, prepared, args.void_id)
        self.data = self._ask(Job("data", "look", arguments, self._log("data")))
        for note in self.data.pop("notes", ()):
            print(note, flush=True)
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
        self.apply_choices()
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
            "jobs": self.slots,
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
        fitted = self._ask(Job("widths", "fit", arguments, self._log("widths")))
        target = self.settings.target
        for name, each in fitted.items():
            if abs(each["size"] / target - 1) > TOLERANCE:
                print(
                    f"{name} does not reach the target of {short(target)} {self.settings.sizes}: "
                    f"the nearest size is {short(each['size'])}",
                    flush=True,
                )
        return known | fitted

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
        classes, whole = len(self.data["classes"]), self.data["images"]["train"]
        images = {each: whole if each is None else each * classes for each in samples}
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
            *(self.settings, self.methods, samples, seeds, images, known, self.slots),
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
        alike = {**asdict(replace(self.settings, amount=0.0)), "jobs": self.slots}
        alike |= {"images": self.data["fingerprints"], "configs": self.configs}
        widths = self._widths()
        trials = {name: self._trial(Run(name, None, 0, 1, 1, widths[name])) for name in names}
        return find_speeds(self.out, alike, trials, self.pool, self.slots)

    def _trial(self, run: Run) -> Job:
        log = self._log(f"trial-{Method(run.method, run.method).slug}")
        arguments = (self.settings, run, self.classes, self.workers)
        return Job(f"trial of {run.method}", "trial", arguments, log)

    def _pace(self, run: Run) -> dict[str, float]:
        log = self._log(f"begin-{Method(run.method, run.method).slug}")
        arguments = (self.settings, run, self.classes, self.workers)
        return self._ask(Job(f"begin of {run.method}", "pace", arguments, log), self.pool)

    def apply_choices(self) -> None:
        """Apply the selected values to all seeds, including those added by later commands."""
        chosen = {
            (each["method"], each["samples"]): {
                "rate": each["rate"],
                "weight": each.get("weight", ""),
            }
            for each in self.chosen
        }
        self.wanted = change(self.wanted, chosen)

    def jobs(self) -> Jobs:
        """Create the factory of the jobs of all runs."""
        runs = [*self.rest, *self.wanted]
        return Jobs(self.out, self.settings, self.classes, self.workers, runs)

    def _ask(self, job: Job, pool: Pool | None = None) -> Any:
        outcome = (pool or self.here).run([job], Silent())[job.name]
        if outcome.reason:
            raise UserError(
                outcome.reason if outcome.user_error else f"{outcome.reason} (log: {job.log})"
            )
        return outcome.value

    def _log(self, name: str) -> str:
        return log_of(self.out, name)


def log_of(out: str, name: str) -> str:
    """Get the path of the log of a job that is not a run.

    Args:
        out (str): Folder of the bench.
        name (str): Name of the job.

    Returns:
        str: Path of the log.
    """
    return osp.join(out, "logs", f"{name}.txt")
