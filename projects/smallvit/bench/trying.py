"""Speed measurement of methods by short trainings, before a budget in minutes is divided."""

from __future__ import annotations

from collections.abc import Mapping

from smallvit.bench.progress import Display
from smallvit.bench.scheduler import Job, Pool


def measure_speeds(
    jobs: Mapping[str, Job], pool: Pool, slots: int
) -> tuple[dict[str, dict[str, float]], str]:
    """Measure the speed of methods.

    Args:
        jobs (Mapping[str, Job]): Trial job of each method.
        pool (Pool): Pool that runs the jobs.
        slots (int): Number of concurrent jobs.

    Returns:
        tuple[dict[str, dict[str, float]], str]: Measurements by method, and the reason of the
        first failure, empty if there is none.
    """
    if not jobs:
        return {}, ""
    print(f"testing {len(jobs)} methods for a few seconds each", flush=True)
    outcomes = pool.run(list(jobs.values()), Display({}, slots))
    ended = {name: outcomes[job.name] for name, job in jobs.items()}
    failed = [
        f"{name}: {each.reason} (log: {jobs[name].log})"
        for name, each in ended.items()
        if each.reason is not None
    ]
    found = {name: each.value for name, each in ended.items() if each.reason is None}
    return found, failed[0] if failed else ""
