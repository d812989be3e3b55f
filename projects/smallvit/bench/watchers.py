"""Receivers of job events other than displays."""

from __future__ import annotations

import json
import os
import os.path as osp

from smallvit.bench.progress import Display
from smallvit.bench.results import FAILURE
from smallvit.bench.scheduler import Job, Outcome
from smallvit.bench.settings import Run


class Silent:
    """Watcher that ignores all events."""

    def started(self, job: Job) -> None:
        """Ignore the start of a job."""

    def progressed(self, job: Job, progress: dict) -> None:
        """Ignore the progress of a job."""

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Ignore the end of a job."""

    def tick(self) -> None:
        """Do nothing."""


class Keeper:
    """Watcher that records failures of runs and forwards all events to a display."""

    def __init__(self, display: Display, runs: dict[str, Run], out: str) -> None:
        self.display, self.runs, self.out = display, runs, out
        self.started, self.progressed, self.tick = (
            display.started,
            display.progressed,
            display.tick,
        )

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Record a failure, or remove an earlier one."""
        from smallvit.utils.files import remove_quietly, write_whole

        if job.name in self.runs:
            path = osp.join(self.runs[job.name].folder(self.out), FAILURE)
            remove_quietly(path)
            if outcome.reason:
                os.makedirs(osp.dirname(path), exist_ok=True)
                log = osp.relpath(outcome.log, self.out)
                write_whole(path, json.dumps({"reason": outcome.reason, "log": log}))
        self.display.ended(job, outcome)
