"""Jobs of a bench on a cluster with submitit, as Slurm job arrays on a shared folder."""

from __future__ import annotations

import argparse
import json
import os
import os.path as osp
import time
from collections.abc import Mapping, Sequence
from typing import Any

from smallvit.bench.scheduler import Job, Outcome, Watcher, perform, startable
from smallvit.errors import UserError
from smallvit.utils.json_files import read_object

#: Subfolder of the bench for submitit's files, and the file with the cluster's job of each job.
FOLDER, GIVEN = "submitit", "given.json"
#: Seconds between checks of the jobs.
EVERY = {"local": 0.5}
#: Default number of concurrent jobs.
AT_ONCE = 16
#: Slurm states of unfinished jobs.
ALIVE = ("PENDING", "RUNNING", "REQUEUED", "RESIZING", "SUSPENDED", "CONFIGURING", "COMPLETING")


class Task:
    """Callable that runs a job of the bench on the cluster.

    Args:
        job (Job): Job of the bench.
        environment (Mapping[str, str]): Environment variables to set before imports.
    """

    def __init__(self, job: Job, environment: Mapping[str, str]) -> None:
        self.job, self.environment = job, dict(environment)

    def __call__(self) -> Outcome:
        """Run the job.

        Returns:
            Outcome: Outcome of the job.
        """
        # submitit raises SystemExit when it requeues a job.
        return perform(self.job, self.environment, lambda progress: None, (SystemExit,))

    def checkpoint(self, *args: Any, **kwargs: Any) -> Any:
        """Return the submission for a preempted job: the same task, which resumes."""
        from submitit.helpers import DelayedSubmission

        return DelayedSubmission(self)


class Cluster:
    """Pool like :class:`smallvit.bench.scheduler.Pool` that runs jobs on a cluster.

    Jobs continue when this process ends; the same command finds running Slurm jobs again.

    Args:
        out (str): Folder of the bench, which all machines must see at the same path.
        parameters (Mapping[str, Any]): Parameters of ``submitit.AutoExecutor.update_parameters``,
            and ``cluster``: "slurm", "local" or "debug".
        at_once (int): Maximum number of concurrent jobs.
        environment (Mapping[str, str]): Environment variables of each job.

    Raises:
        UserError: If submitit is not installed, or does not know a parameter or the cluster.
    """

    def __init__(
        self,
        out: str,
        parameters: Mapping[str, Any],
        at_once: int,
        environment: Mapping[str, str],
    ) -> None:
        try:
            import submitit
        except ImportError:
            raise UserError(
                "--launcher submitit requires submitit: pip install 'smallvit[cluster]'"
            ) from None
        self.folder, self.at_once, self.environment = osp.join(out, FOLDER), at_once, environment
        own = {"name": "smallvit-bench", "slurm_array_parallelism": at_once, **parameters}
        cluster = own.pop("cluster", None)
        try:
            self.executor = submitit.AutoExecutor(self.folder, cluster=cluster)
            self.executor.update_parameters(**own)
        except (NameError, TypeError, ValueError, RuntimeError) as error:
            raise UserError(f"--submitit: {error}") from error
        self.name = self.executor.cluster

    def run(self, jobs: Sequence[Job], watcher: Watcher) -> dict[str, Outcome]:
        """Run all jobs, each after its dependencies.

        Args:
            jobs (Sequence[Job]): Jobs to run.
            watcher (Watcher): Receiver of events; the progress of jobs is not reported.

        Returns:
            dict[str, Outcome]: Outcome of each job, by name.
        """
        waiting, outcomes, running = list(jobs), {}, {}
        given = self._given()
        while waiting or running:
            ready = startable(waiting, set(running), outcomes, watcher)
            if self.name != "slurm":  # Slurm limits the number itself
                ready = ready[: max(0, self.at_once - len(running))]
            for job in ready:
                waiting.remove(job)
            running |= self._start(ready, given, watcher)
            self._collect(running, outcomes, watcher)
            watcher.tick()
            if running:
                time.sleep(EVERY.get(self.name, 10.0))
        return outcomes

    def _start(self, jobs: list[Job], given: dict[str, str], watcher: Watcher) -> dict[str, tuple]:
        """Submit jobs as one array, except those of an earlier call that still run."""
        found = {job.name: (job, self._found(given.get(job.name))) for job in jobs}
        new = [job for job, submitted in found.values() if submitted is None]
        if new:
            with self.executor.batch():
                submitted = [self.executor.submit(Task(job, self.environment)) for job in new]
            found |= {job.name: (job, each) for job, each in zip(new, submitted, strict=True)}
            given |= {job.name: each.job_id for job, each in zip(new, submitted, strict=True)}
            self._keep(given)
        for job in jobs:
            watcher.started(job)
        return found

    def _found(self, number: str | None) -> Any:
        """Get the cluster's job by its number, if Slurm still has it."""
        if number is None or self.name != "slurm":
            return None
        job = self.executor._executor.job_class(self.folder, number)
        return job if job.watcher.get_state(number, mode="force") in ALIVE else None

    def _collect(self, running: dict[str, tuple], outcomes: dict, watcher: Watcher) -> None:
        for name, (job, submitted) in list(running.items()):
            if not submitted.done():
                continue
            del running[name]
            outcomes[name] = self._outcome(job, submitted)
            watcher.ended(job, outcomes[name])

    def _outcome(self, job: Job, submitted: Any) -> Outcome:
        error = submitted.exception()
        outcome = submitted.result() if error is None else Outcome(reason=_first_line(error))
        outcome.log = job.log
        return outcome

    def _given(self) -> dict[str, str]:
        """Read the cluster's job numbers by job name, as stored by earlier calls."""
        try:
            found = read_object(osp.join(self.folder, GIVEN))
        except (OSError, ValueError):
            return {}
        return {name: number for name, number in found.items() if isinstance(number, str)}

    def _keep(self, given: dict[str, str]) -> None:
        from smallvit.utils.files import write_whole

        os.makedirs(self.folder, exist_ok=True)
        write_whole(osp.join(self.folder, GIVEN), json.dumps(given, indent=1))


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return f"the job was terminated: {lines[0][:200]}"


def hand_over(
    args: argparse.Namespace, out: str, workers: int
) -> tuple[Cluster, list[dict[str, str]], int]:
    """Create the pool of a bench that runs on a cluster.

    Args:
        args (argparse.Namespace): Command-line arguments ``submitit``, ``jobs``, ``threads``
            and ``workers``.
        out (str): Folder of the bench.
        workers (int): Data loader workers per run on this machine.

    Returns:
        tuple[Cluster, list[dict[str, str]], int]: Pool, environment of each concurrent job, and
        data loader workers per run.
    """
    parameters = read_parameters(args.submitit)
    cores = parameters.get("cpus_per_task", 1)
    if not isinstance(cores, int) or cores < 1:
        raise UserError(f"--submitit cpus_per_task={cores}: expected a positive integer")
    environment = {"OMP_NUM_THREADS": str(args.threads or cores)}
    at_once = args.jobs or AT_ONCE
    if args.workers is None:
        workers = min(workers or 4, max(0, cores - 1))
    return (
        Cluster(out, parameters, at_once, environment),
        [environment] * at_once,
        0 if args.data == "digits" else workers,
    )


def read_parameters(given: Sequence[str]) -> dict[str, Any]:
    """Parse ``KEY=VALUE`` arguments.

    Args:
        given (Sequence[str]): Arguments such as ``slurm_partition=gpu`` and ``timeout_min=240``.

    Returns:
        dict[str, Any]: Values by key, with decimal numbers as integers.

    Raises:
        UserError: If one has no ``=``.
    """
    found = {}
    for each in given:
        key, equals, value = each.partition("=")
        if not equals or not key:
            raise UserError(f"--submitit {each}: must be KEY=VALUE, such as timeout_min=240")
        found[key] = int(value) if value.isdecimal() else value
    return found
