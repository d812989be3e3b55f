"""Steps of a bench: plan, train, measure, report."""

from __future__ import annotations

import argparse
import json
import os
import os.path as osp
from collections.abc import Sequence

from smallvit.bench.asked import check_out, check_unlabeled
from smallvit.bench.cluster import hand_over
from smallvit.bench.findings import COST
from smallvit.bench.flat import to_prolong, undecided
from smallvit.bench.folder_lock import lock_folder, writing
from smallvit.bench.methods import TEACHER, Method, parse_method
from smallvit.bench.plan import Run, trial_steps
from smallvit.bench.plan_file import read_plan
from smallvit.bench.planning import DIGITS, Planning, log_of
from smallvit.bench.progress import Display, open_display
from smallvit.bench.recipe import several_labels
from smallvit.bench.results import TAUGHT, WEIGHTS, keep_teacher, read_results, teachers_of
from smallvit.bench.scheduler import Job, Pool
from smallvit.bench.search import groups_to_search, search
from smallvit.bench.settings import steps_label
from smallvit.bench.slots import loading_processes, make_slots
from smallvit.bench.stored import check_costs, read_or_tell
from smallvit.bench.tasks import metric_name
from smallvit.bench.watchers import Keeper
from smallvit.errors import UserError


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
        """Decide which runs to train and for how long, and save the plan."""
        self.planning = Planning(
            *(self.args, self.out, self.methods, self.pool, self.here or self.pool),
            *(len(self.slots), self.workers),
        )
        self.planning.decide()

    def train(self) -> None:
        """Select learning rates and weights, and train the runs without results.

        With a search or extended runs, all teachers are trained before their first student: the
        trials of a student need the same teacher as its runs.
        """
        guided = {method.name for method in self.planning.methods if method.guided}
        names = {run.method for run in self.planning.wanted}
        doublings = getattr(self.args, "until_flat", None)
        stages = [names - guided, names & guided]
        if not self.planning.settings.search and not doublings:
            stages = [names]
        for stage in filter(None, stages):
            if self.planning.settings.search:
                self._choose(stage)
            self._train(stage)
            if doublings and guided:
                self._keep_teachers()
            while doublings and self._prolong(stage, doublings):
                self._train(stage)

    def _keep_teachers(self) -> None:
        """Keep the weights for the students: a teacher trains for as many steps as they do."""
        runs = [*self.planning.rest, *self.planning.wanted]
        results, _ = read_results(self.out, runs)
        for run in teachers_of(runs).values():
            folder = run.folder(self.out)
            short = run in results and results[run]["iters"] == (run.begun or run.iters)
            if short and osp.isfile(osp.join(folder, WEIGHTS)):
                keep_teacher(osp.join(folder, TAUGHT))

    def _choose(self, names: set[str]) -> None:
        runs = self._runs(names)
        finished, _ = read_results(self.out, runs)
        groups = groups_to_search(runs, self.planning.chosen, finished)
        if not self.planning.chosen and not all(trial_steps(run.iters) for run in runs):
            print(
                "fewer than 200 steps: using the recipe's learning rate without trials", flush=True
            )
        if not groups:
            return
        found = search(groups, self.planning.jobs(), self.pool, len(self.slots))
        for each in found:
            if each["trials"] or each["weights"]:
                self.planning.chosen.append(each)
            else:  # not kept, so that the next command tries again
                print(f"{each['method']}: all trials failed, using the recipe's learning rate")
        self.planning.apply_choices()
        self.planning.save()

    def _train(self, names: set[str]) -> None:
        runs = self._runs(names)
        results, _ = read_results(self.out, runs)
        left = [run for run in runs if run not in results or results[run]["iters"] < run.iters]
        if len(left) < len(runs):
            print(f"{len(runs) - len(left)} of {len(runs)} runs are already finished", flush=True)
        if not left:
            return
        maker = self.planning.jobs()
        jobs = {job.name: job for run in left for job in maker.training(run)}
        # A teacher with a result is no dependency.
        for job in jobs.values():
            job.needs = [name for name in job.needs if name in jobs]
        label = f"{len(left)} runs, {len(self.slots)} at a time, {steps_label(left)} each"
        print(f"{label}, in {self.out}", flush=True)
        shown = {run.name: run for run in left}
        settings = self.planning.settings
        metric = metric_name(settings.task, several_labels(settings.data))
        with open_display(shown, len(self.slots), metric) as display:
            self.pool.run(list(jobs.values()), Keeper(display, shown, self.out))

    def _prolong(self, names: set[str], doublings: int) -> bool:
        """Double the runs whose curves still rise, and return whether there are any."""
        # A longer teacher would be of no use: its students have begun with the shorter one.
        runs = self._runs(names - {TEACHER})
        results, _ = read_results(self.out, runs)
        rising = to_prolong(runs, results, doublings)
        if rising:
            longer = {(run.method, run.samples) for run in runs} & rising
            self.planning.wanted = [
                run.prolonged() if (run.method, run.samples) in longer else run
                for run in self.planning.wanted
            ]
            listed = ", ".join(sorted({method for method, _ in longer}))
            print(f"still rising, continued with twice the steps: {listed}", flush=True)
            self.planning.save()
        elif undecided(runs, results):
            listed = ", ".join(undecided(runs, results))
            print(f"too few validations to see whether a curve still rises: {listed}", flush=True)
        return bool(rising)

    def _runs(self, names: set[str]) -> list[Run]:
        return [run for run in self.planning.wanted if run.method in names]

    def measure(self) -> None:
        """Measure the costs of the requested networks, all in one job.

        Other methods in the plan are not measured, as this would execute their configs: those
        of earlier commands keep their earlier measurements.
        """
        from smallvit.utils.files import write_whole

        results, _ = read_results(self.out, self.planning.wanted)
        widths = {run.method: run.width for run in results if run.method != TEACHER}
        widths |= dict.fromkeys(self.planning.unavailable, 0)
        path = osp.join(self.out, COST)
        known = read_or_tell(path, check_costs, "measuring costs again") or {"methods": {}}
        if not widths or set(widths) <= set(known["methods"]):
            return
        print(f"measuring {len(widths)} methods in alternation", flush=True)
        arguments = (self.planning.settings, widths, self.planning.classes)
        job = Job("measuring", "measure", arguments, log_of(self.out, "cost"))
        outcome = self.pool.run([job], Display({}, 1))[job.name]
        if outcome.reason is None:
            cost = {**outcome.value, "methods": known["methods"] | outcome.value["methods"]}
            write_whole(osp.join(self.out, COST), json.dumps(cost, indent=1))
