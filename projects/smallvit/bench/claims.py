"""Who does a job of a bench: one process at a time, on whatever machine, and none that is done."""

from __future__ import annotations

import os.path as osp
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from smallvit.bench.results import PRETRAINED, RESULT, STORED, TRIAL
from smallvit.bench.scheduler import Job
from smallvit.bench.stored import (
    check_pretraining,
    check_result,
    check_seconds,
    check_trial,
    read_or_tell,
)
from smallvit.utils.locks import HeldError, hold, release

#: Seconds between looks at a job that another process does.
PATIENCE = 5.0
#: Where the work folder is among the arguments of a function, and what it leaves there.
_LEFT = {
    "train": (4, RESULT, check_result),
    "attempt": (4, TRIAL, check_trial),
    "pretrain": (4, PRETRAINED, check_pretraining),
    "store": (3, STORED, check_seconds),
}


@contextmanager
def claimed(job: Job, patience: float = PATIENCE) -> Iterator[None]:
    """Keep other processes from a job, or wait for the one that does it.

    A process that is killed gives its job back.

    Args:
        job (Job): The job; its log stands for it.
        patience (float): Seconds between two looks. Defaults to 5.

    Yields:
        None: While this process alone has the job.
    """
    told = False
    while True:
        try:
            hold(job.log, job.name, "job")
            break
        except HeldError as error:
            if not told:
                print(f"{error}: waiting for it", flush=True)
            told = True
            time.sleep(patience)
    try:
        yield
    finally:
        release(job.log, remove=True)


def left_by(job: Job) -> dict[str, Any] | None:
    """Read what another process has left of a job that it did.

    Args:
        job (Job): The job.

    Returns:
        dict | None: Its result; None if it is to be done, or of a kind that is always done.
    """
    if not isinstance(job.function, str) or job.function not in _LEFT:
        return None
    place, name, check = _LEFT[job.function]
    found = read_or_tell(osp.join(job.arguments[place], name), check, "the job is done again")
    if found is None or job.function == "store":
        return found
    run = job.arguments[1]
    if job.function == "pretrain":
        return found if found["iters"] == run.pretraining else None
    return found if found["iters"] >= run.iters else None
