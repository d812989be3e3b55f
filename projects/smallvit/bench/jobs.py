"""Jobs of a bench: arguments and dependencies of its runs and trials."""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterable, Sequence
from dataclasses import replace

from smallvit.bench.methods import parse_method
from smallvit.bench.recipe import TrainedTeacher
from smallvit.bench.results import BACKBONE, PRETRAINED, STORED, TAUGHT, is_guided, teachers_of
from smallvit.bench.scheduler import Job
from smallvit.bench.settings import BenchSettings, Run, samples_label, samples_slug
from smallvit.bench.stored import check_pretraining, read_or_tell


class Jobs:
    """Factory of the jobs of a bench.

    Args:
        out (str): Folder of the bench.
        settings (BenchSettings): Settings of the bench.
        classes (int): Number of classes.
        workers (int): Data loader workers per run.
        runs (Iterable[Run]): All runs, including teachers.
    """

    def __init__(
        self, out: str, settings: BenchSettings, classes: int, workers: int, runs: Iterable[Run]
    ) -> None:
        self.out, self.settings, self.classes, self.workers = out, settings, classes, workers
        self.teachers = teachers_of(runs)

    def training(self, run: Run) -> list[Job]:
        """Create the jobs of a run.

        Args:
            run (Run): Run of the bench.

        Returns:
            list[Job]: Jobs that store features and pretrain, if needed, then the job of the run,
            which has its name.
        """
        folder = run.folder(self.out)
        return self._jobs(run, run.name, "train", folder)

    def attempt(self, run: Run, name: str) -> list[Job]:
        """Create the jobs of a short trial.

        Args:
            run (Run): Run to try.
            name (str): Name of the trial, unique for the method and subset.

        Returns:
            list[Job]: Dependencies, then the job of the trial.
        """
        return self._jobs(run, f"{run.name}, {name}", "attempt", self.trial_folder(run, name))

    def trial_folder(self, run: Run, name: str) -> str:
        """Get the work folder of a trial.

        Args:
            run (Run): Run to try.
            name (str): Name of the trial.

        Returns:
            str: Path of the folder.
        """
        slug = parse_method(run.method).slug
        place = osp.join(self.out, "trials", slug, samples_slug(run.samples))
        return osp.join(place, name.replace(" ", "-"))

    def _jobs(self, run: Run, name: str, function: str, folder: str) -> list[Job]:
        trained_teacher, needs, before = None, [], []
        if is_guided(run.method):
            trained_teacher, needs, before = self._trained_teacher(run)
        begin = None
        if run.pretraining:
            begin, first = self._pretraining(run)
            before, needs = [*before, *first], [*needs, *(job.name for job in first)]
        arguments = (self.settings, run, self.classes, self.workers, folder, trained_teacher, begin)
        return [*before, Job(name, function, arguments, osp.join(folder, "log.txt"), needs)]

    def _pretraining(self, run: Run) -> tuple[str, list[Job]]:
        """Get the folder of a run's pretraining, and its job unless it is finished."""
        folder = run.pretraining_folder(self.out)
        path = osp.join(folder, PRETRAINED)
        done = read_or_tell(path, check_pretraining, "repeating the pretraining")
        kept = osp.isfile(osp.join(folder, BACKBONE))
        if kept and done is not None and done["iters"] == run.pretraining:
            return folder, []
        # Shared by all learning rates and weights that are tried after it.
        alike = replace(run, rate=1.0, weight="", evals=1)
        arguments = (self.settings, alike, self.classes, self.workers, folder)
        log = osp.join(folder, "log.txt")
        return folder, [Job(f"{run.name}, pretraining", "pretrain", arguments, log)]

    def _trained_teacher(self, run: Run) -> tuple[TrainedTeacher, list[str], list[Job]]:
        teacher = self.teachers[run.samples, run.seed]
        place = teacher.folder(self.out)
        offline = parse_method(run.method).offline
        features = osp.join(place, "features") if offline else None
        trained_teacher = TrainedTeacher(osp.join(place, TAUGHT), features, teacher.width)
        needs = [teacher.name]
        if not offline:
            return trained_teacher, needs, []
        needs.append(f"features, {samples_label(run.samples)}, seed {run.seed}")
        if osp.isfile(osp.join(place, STORED)) and osp.isdir(features):
            return trained_teacher, needs, []
        arguments = (self.settings, teacher, self.classes, place, features)
        log = osp.join(place, "features.log")
        return trained_teacher, needs, [Job(needs[-1], "store", arguments, log, needs[:1])]


def change(runs: Sequence[Run], changed: dict[tuple[str, int | None], dict]) -> list[Run]:
    """Replace fields of the runs of some methods and subsets.

    Args:
        runs (Sequence[Run]): Runs of the bench.
        changed (dict): New field values by method and images per class.

    Returns:
        list[Run]: Updated runs in the same order.
    """
    return [replace(run, **changed.get((run.method, run.samples), {})) for run in runs]
