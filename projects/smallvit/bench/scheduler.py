"""Scheduler of jobs in child processes, one per device, with dependencies."""

from __future__ import annotations

import gc
import multiprocessing
import os
import os.path as osp
import sys
import threading
import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing import connection
from multiprocessing.context import BaseContext
from typing import Any, Protocol

#: Modules that are imported once for all children if processes can be forked.
PRELOADED = ["smallvit.bench.worker"]


@dataclass
class Job:
    """Function call that runs in a separate process.

    Args:
        name (str): Unique name of the job.
        function (Callable | str): Function, or the name of one in ``worker``. It is called with
            the arguments and ``report``, a function that takes the progress as a dict.
        arguments (tuple): Positional arguments, which are pickled.
        log (str): File for the output of the process.
        needs (Sequence[str]): Names of jobs that must succeed before. Defaults to none.
    """

    name: str
    function: Callable | str
    arguments: tuple
    log: str
    needs: Sequence[str] = ()


@dataclass
class Outcome:
    """Outcome of a job.

    Args:
        value (Any): Return value of the function. Defaults to None.
        reason (str, optional): Reason of the failure. Defaults to None: the job succeeded.
        user_error (bool): Whether the reason is a complete message, without need for the log.
            Defaults to False.
        log (str): File with the output of the process. Defaults to "".
    """

    value: Any = None
    reason: str | None = None
    user_error: bool = False
    log: str = ""


class Watcher(Protocol):
    """Protocol of receivers of job events, such as a display."""

    def started(self, job: Job) -> None:
        """Called when a job has started."""

    def progressed(self, job: Job, progress: dict[str, Any]) -> None:
        """Called when a job has reported progress."""

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Called when a job has ended, or cannot start because a dependency failed."""

    def tick(self) -> None:
        """Called periodically."""


@dataclass
class _Running:
    job: Job
    process: Any
    channel: Any
    slot: int
    outcome: Outcome | None = None


@dataclass
class Pool:
    """Pool of processes that run jobs.

    The children are terminated with their parent process, however it ends.

    Args:
        slots (Sequence[dict[str, str]]): Environment variables of each concurrent process,
            such as its device.
        context (BaseContext, optional): Multiprocessing context. Defaults to None: a fork server
            with preloaded modules, or ``spawn`` if a slot has a GPU or forking is not
            supported.
    """

    slots: Sequence[dict[str, str]]
    context: BaseContext | None = None
    _running: dict[int, _Running] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.context is not None:
            return
        gpus = any("CUDA_VISIBLE_DEVICES" in slot for slot in self.slots)
        forking = "forkserver" in multiprocessing.get_all_start_methods() and not gpus
        self.context = multiprocessing.get_context("forkserver" if forking else "spawn")
        if forking:
            self.context.set_forkserver_preload(PRELOADED)

    def run(self, jobs: Sequence[Job], watcher: Watcher) -> dict[str, Outcome]:
        """Run all jobs, in their order as far as dependencies allow.

        Args:
            jobs (Sequence[Job]): Jobs to run.
            watcher (Watcher): Receiver of events.

        Returns:
            dict[str, Outcome]: Outcome of each job, by name.
        """
        waiting, outcomes = list(jobs), {}
        try:
            while waiting or self._running:
                self._start_what_can(waiting, outcomes, watcher)
                self._listen(outcomes, watcher)
                watcher.tick()
        finally:
            self.stop()
        return outcomes

    def stop(self) -> None:
        """Terminate all running processes."""
        for running in self._running.values():
            running.process.terminate()
        for running in self._running.values():
            running.process.join(5)
            if running.process.is_alive():
                running.process.kill()
        self._running.clear()

    def _start_what_can(self, waiting: list[Job], outcomes: dict, watcher: Watcher) -> None:
        running = {each.job.name for each in self._running.values()}
        ready = startable(waiting, running, outcomes, watcher)
        for job in ready[: len(self.slots) - len(self._running)]:
            waiting.remove(job)
            self._start(job)
            watcher.started(job)

    def _start(self, job: Job) -> None:
        slot = next(i for i in range(len(self.slots)) if i not in self._running)
        os.makedirs(osp.dirname(osp.abspath(job.log)), exist_ok=True)
        mine, theirs = self.context.Pipe(duplex=False)
        process = self.context.Process(
            target=_work,
            args=(job, self.slots[slot], theirs),
            # A daemon could not start data loader workers.
            daemon=False,
        )
        process.start()
        theirs.close()
        self._running[slot] = _Running(job, process, mine, slot)

    def _listen(self, outcomes: dict[str, Outcome], watcher: Watcher) -> None:
        by_channel = {running.channel: running for running in self._running.values()}
        for channel in connection.wait(list(by_channel), timeout=0.5):
            running = by_channel[channel]
            try:
                kind, content = channel.recv()
            except (EOFError, OSError):  # the process has ended
                running.process.join(30)
                running.process.kill()  # its outcome was received, but it does not exit
                running.process.join()
                outcome = running.outcome or Outcome(reason=_how_it_ended(running.process.exitcode))
                outcome.log = running.job.log
                outcomes[running.job.name] = outcome
                del self._running[running.slot]
                watcher.ended(running.job, outcome)
                continue
            if kind == "progress":
                watcher.progressed(running.job, content)
            else:
                running.outcome = content


def _how_it_ended(status: int | None) -> str:
    if status is not None and status < 0:
        hint = " (possibly out of memory)" if status == -9 else ""
        return f"its process was terminated by signal {-status}{hint}"
    return f"its process exited with status {status}"


def startable(
    waiting: list[Job], running: Collection[str], outcomes: dict[str, Outcome], watcher: Watcher
) -> list[Job]:
    """Find the jobs that can start; those with a failed dependency fail too.

    Args:
        waiting (list[Job]): Jobs that have not started; failed ones are removed.
        running (Collection[str]): Names of running jobs.
        outcomes (dict[str, Outcome]): Outcomes of finished jobs; failed ones are added.
        watcher (Watcher): Receiver of the events of failed jobs.

    Returns:
        list[Job]: Jobs that can start, in order.
    """
    unfinished, ready = {job.name for job in waiting} | set(running), []
    for job in list(waiting):
        failed = [name for name in job.needs if outcomes.get(name, Outcome()).reason]
        if failed:
            waiting.remove(job)
            unfinished.discard(job.name)
            first = outcomes[failed[0]]
            outcomes[job.name] = Outcome(
                reason=f"a required job failed: {failed[0]}: {first.reason}",
                user_error=True,
                log=first.log or job.log,
            )
            watcher.ended(job, outcomes[job.name])
        elif not unfinished & set(job.needs):
            ready.append(job)
    return ready


def perform(
    job: Job,
    environment: Mapping[str, str],
    report: Callable,
    passing: tuple[type[BaseException], ...] = (),
) -> Outcome:
    """Run a job in this process, whose output is redirected to the log of the job.

    Args:
        job (Job): Job to run.
        environment (Mapping[str, str]): Environment variables to set before.
        report (Callable): Function that is called with the progress.
        passing (tuple[type[BaseException], ...]): Exceptions that are propagated instead of
            recorded as a failure. Defaults to none.

    Returns:
        Outcome: Outcome of the job.
    """
    os.makedirs(osp.dirname(osp.abspath(job.log)), exist_ok=True)
    _redirect(job.log)
    os.environ.update(environment)
    try:
        outcome = Outcome(_value(job, environment, report))
    except passing:
        raise
    except KeyboardInterrupt:
        outcome = Outcome(reason="interrupted", user_error=True)
    except BaseException as error:
        traceback.print_exc()
        outcome = _failure(error)
    sys.stdout.flush()
    sys.stderr.flush()
    return outcome


def _value(job: Job, environment: Mapping[str, str], report: Callable) -> Any:
    if not isinstance(job.function, str):
        return job.function(*job.arguments, report=report)
    from smallvit.bench import worker
    from smallvit.bench.claims import claimed, left_by

    # MMEngine collects garbage for each dataset, which would traverse all imported objects.
    gc.freeze()
    worker.torch.set_num_threads(int(environment.get("OMP_NUM_THREADS", 1)))
    with claimed(job):
        found = left_by(job)
        if found is not None:
            return found
        return getattr(worker, job.function)(*job.arguments, report=report)


def _work(job: Job, environment: Mapping[str, str], channel: Any) -> None:
    """Main function of a child process."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    outcome = perform(job, environment, lambda progress: channel.send(("progress", progress)))
    channel.send(("outcome", outcome))
    channel.close()


def _failure(error: BaseException) -> Outcome:
    from smallvit.explain import explain

    message = explain(error)
    if message is not None:
        return Outcome(reason=message, user_error=True)
    first = str(error).strip().split("\n")[0]
    return Outcome(reason=f"{type(error).__name__}: {first}")


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    connection.wait([parent.sentinel])
    # A data loader worker that is writing a batch to its closed reader does not end by itself.
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(1)


def _redirect(log: str) -> None:
    descriptor = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    sys.stdout.flush()
    sys.stderr.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = os.fdopen(1, "w", buffering=1, closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
