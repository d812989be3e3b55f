"""Progress display of the bench: live in a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TextIO

from smallvit.bench.plan import Run
from smallvit.bench.scheduler import Job, Outcome


@dataclass
class Timetable:
    """Estimate of the remaining time of the bench.

    The step time of a method is assumed to be the same in all of its runs; for a method that
    has not started, the mean of the others is used.

    Args:
        runs (Sequence[Run]): Runs to train.
        jobs (int): Number of concurrent runs.
    """

    runs: Sequence[Run]
    jobs: int
    done: dict[Run, int] = field(default_factory=dict)
    step_seconds: dict[str, float] = field(default_factory=dict)
    _began: dict[Run, tuple[float, int]] = field(default_factory=dict)

    def note(self, run: Run, iteration: int, now: float) -> None:
        """Record the progress of a run.

        Args:
            run (Run): Run of the bench.
            iteration (int): Number of finished steps.
            now (float): Current time in seconds.
        """
        began, first = self._began.setdefault(run, (now, iteration))
        self.done[run] = iteration
        if iteration > first:
            self.step_seconds[run.method] = (now - began) / (iteration - first)

    def fraction(self) -> float:
        """Compute the finished fraction of all steps, weighted by their time.

        Returns:
            float: Fraction from 0 to 1.
        """
        whole = sum(run.iters * self._step(run.method) for run in self.runs)
        return 1 - self._left() / whole if whole else 1.0

    def remaining(self) -> float | None:
        """Estimate the time left.

        Returns:
            float | None: Seconds; None before any step was measured.
        """
        return self._left() / self.jobs if self.step_seconds else None

    def _left(self) -> float:
        return sum(
            (run.iters - min(run.iters, self.done.get(run, 0))) * self._step(run.method)
            for run in self.runs
        )

    def _step(self, method: str) -> float:
        known = self.step_seconds
        return known.get(method, sum(known.values()) / len(known) if known else 1.0)


class Display:
    """Plain-text display with one line when a run starts and one when it ends.

    Args:
        runs (dict[str, Run]): Runs by the names of their jobs.
        jobs (int): Number of concurrent runs.
        stream (TextIO, optional): Output stream. Defaults to None, standard output.
        metric (str): Name of the measured percentage. Defaults to "accuracy".
    """

    def __init__(
        self,
        runs: dict[str, Run],
        jobs: int,
        stream: TextIO | None = None,
        metric: str = "accuracy",
    ) -> None:
        self.runs, self.metric = runs, metric
        self.table = Timetable(list(runs.values()), jobs)
        self.stream = stream or sys.stdout
        self.ended_jobs = 0
        self.total = len(runs)

    def __enter__(self) -> Display:
        return self

    def __exit__(self, *exception: Any) -> None:
        return None

    def started(self, job: Job) -> None:
        """Report that a job has started."""
        if job.name in self.runs:
            self.say(f"{job.name}: begins")

    def progressed(self, job: Job, progress: dict[str, Any]) -> None:
        """Record the progress of a job."""
        if job.name in self.runs:
            self.table.note(self.runs[job.name], progress["iter"], time.monotonic())

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Report the outcome of a job."""
        if job.name not in self.runs:
            if outcome.reason:
                self.say(f"{job.name}: FAILED: {outcome.reason} ({outcome.log})")
            elif isinstance(outcome.value, dict) and "said" in outcome.value:
                taken = duration(outcome.value["seconds"])
                self.say(f"{job.name}: {outcome.value['said']} in {taken}")
            return
        self.ended_jobs += 1
        run = self.runs[job.name]
        self.table.note(run, run.iters, time.monotonic())
        place = f"[{self.ended_jobs}/{self.total}]"
        left = self.time_left() if self.ended_jobs < self.total else ""
        if outcome.reason:
            self.say(f"{place} {job.name}: FAILED: {outcome.reason} (log: {outcome.log}){left}")
            return
        result = outcome.value
        self.say(
            f"{place} {job.name}: {self.metric} {result['accuracy']:.2f}%, trained in "
            f"{duration(result.get('train_seconds', result.get('seconds')))}{left}"
        )

    def time_left(self) -> str:
        """Format the estimated time left for the end of a line.

        Returns:
            str: Text such as ", 45 s left"; ", testing" after the last training step, and empty
            before the first.
        """
        remaining = self.table.remaining()
        if remaining is None:
            return ""
        return f", {duration(remaining)} left" if remaining else ", testing"

    def tick(self) -> None:
        """Do nothing, as plain lines need no periodic update."""

    def say(self, line: str) -> None:
        """Write a line."""
        print(line, file=self.stream, flush=True)


class LiveDisplay(Display):
    """Live display with a progress bar for each running job and one for the whole bench."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self.progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            console=Console(file=self.stream, highlight=False, markup=False),
            auto_refresh=False,
        )
        self.bars: dict[str, Any] = {}
        self.whole = self.progress.add_task("all runs", total=1.0, note="")

    def __enter__(self) -> LiveDisplay:
        self.progress.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        self.progress.stop()

    def started(self, job: Job) -> None:
        """Add a bar."""
        total = self.runs[job.name].iters if job.name in self.runs else None
        self.bars[job.name] = self.progress.add_task(job.name, total=total, note="starts")

    def progressed(self, job: Job, progress: dict[str, Any]) -> None:
        """Update the bar of a job."""
        super().progressed(job, progress)
        accuracy = progress.get("accuracy")
        note = f"{progress['iter']}/{progress['iters']}"
        note += "" if accuracy is None else f"  {accuracy:.1f}%"
        self.progress.update(self.bars[job.name], completed=progress["iter"], note=note)

    def ended(self, job: Job, outcome: Outcome) -> None:
        """Replace the bar of a job by a line."""
        if job.name in self.bars:
            self.progress.remove_task(self.bars.pop(job.name))
        super().ended(job, outcome)

    def tick(self) -> None:
        """Redraw the bars."""
        note = f"{self.ended_jobs}/{self.total} runs{self.time_left()}"
        self.progress.update(self.whole, completed=self.table.fraction(), note=note)
        self.progress.refresh()

    def say(self, line: str) -> None:
        """Write a line above the bars."""
        self.progress.console.print(line)


def open_display(runs: dict[str, Run], jobs: int, metric: str) -> Display:
    """Create the display for the current output, a terminal or a file.

    Args:
        runs (dict[str, Run]): Runs by the names of their jobs.
        jobs (int): Number of concurrent runs.
        metric (str): Name of the measured percentage.

    Returns:
        Display: Display, to be used as a context manager.
    """
    return (LiveDisplay if sys.stdout.isatty() else Display)(runs, jobs, metric=metric)


def duration(seconds: float | None) -> str:
    """Format a duration.

    Args:
        seconds (float | None): Duration in seconds, or None if unknown.

    Returns:
        str: Text such as "45 s", "3 min 20 s" or "2 h 05 min".
    """
    if seconds is None:
        return "some time"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
