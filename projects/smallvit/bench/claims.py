"""Locks of jobs across processes and machines, so that each job runs once."""

from __future__ import annotations

import os.path as osp
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from smallvit.bench.results import BACKBONE, PRETRAINED, RESULT, STORED, TRIAL
from smallvit.bench.scheduler import Job
from smallvit.bench.stored import (
    check_pretraining,
    check_result,
    check_seconds,
    check_trial,
    read_or_tell,
)
from smallvit.utils.locks import HeldError, hold, release

#: Seconds between checks of a job that another process runs.
PATIENCE = 5.0
#: Index of the work folder among a function's arguments, its result file, and the check of it.
_LEFT = {
    "train": (4, RESULT, check_result),
    "attempt": (4, TRIAL, check_trial),
    "pretrain": (4, PRETRAINED, check_pretraining),
    "store": (3, STORED, check_seconds),
}


@contextmanager
def claimed(job: Job, patience: float = PATIENCE) -> Iterator[None]:
    """Context manager that locks a job, waiting while another process holds it.

    The lock of a process that was killed is released.

    Args:
        job (Job): Job to lock, by the path of its log.
        patience (float): Seconds between two attempts. Defaults to 5.

    Yields:
        None: No value, while the lock is held.
    """
    told = False
    while True:
        try:
            hold(job.log, job.name, "job")
            break
        except HeldError as error:
            if not told:
                print(f"{error}: waiting for the lock", flush=True)
            told = True
            time.sleep(patience)
    try:
        yield
    finally:
        release(job.log, remove=True)


def left_by(job: Job) -> dict[str, Any] | None:
    """Read the result of a job that another process finished.

    Args:
        job (Job): Job to look up.

    Returns:
        dict | None: Result of the job; None if it must be run, or is of a kind that always runs.
    """
    if not isinstance(job.function, str) or job.function not in _LEFT:
        return None
    place, name, check = _LEFT[job.function]
    found = read_or_tell(osp.join(job.arguments[place], name), check, "repeating the job")
    if found is None:
        return None
    if job.function == "store":
        return found if osp.isdir(job.arguments[4]) else None
    run = job.arguments[1]
    if job.function == "pretrain":
        kept = osp.isfile(osp.join(job.arguments[place], BACKBONE))
        return found if kept and found["iters"] == run.pretraining else None
    return found if found["iters"] >= run.iters else None
