"""Who is told of the jobs of a bench besides a display."""

from __future__ import annotations

import json
import os
import os.path as osp

from smallvit.bench.progress import Display
from smallvit.bench.results import FAILURE
from smallvit.bench.scheduler import Job, Outcome
from smallvit.bench.settings import Run


class Silent:
    """A watcher that says nothing."""

    def started(self, job: Job) -> None:
        """A job has begun."""

    def progressed(self, job: Job, progress: dict) -> None:
        """A job has reported."""

    def ended(self, job: Job, outcome: Outcome) -> None:
        """A job has ended."""

    def tick(self) -> None:
        """Some time has passed."""


class Keeper:
    """Keep why a run failed, and hand everything on to the display."""

    def __init__(self, display: Display, runs: dict[str, Run], out: str) -> None:
        self.display, self.runs, self.out = display, runs, out
        self.started, self.progressed, self.tick = (
            display.started,
            display.progressed,
            display.tick,
        )

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Write down a failure, or remove that of before."""
        from smallvit.utils.files import remove_quietly, write_whole

        if job.name in self.runs:
            path = osp.join(self.runs[job.name].folder(self.out), FAILURE)
            remove_quietly(path)
            if outcome.reason:
                os.makedirs(osp.dirname(path), exist_ok=True)
                log = osp.relpath(outcome.log, self.out)
                write_whole(path, json.dumps({"reason": outcome.reason, "log": log}))
        self.display.ended(job, outcome)
