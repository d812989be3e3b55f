"""Speed measurement of methods by short trainings, before a budget in minutes is divided."""

from __future__ import annotations

import json
import os.path as osp
from collections.abc import Mapping
from typing import Any

from smallvit.bench.progress import Display
from smallvit.bench.scheduler import Job, Pool
from smallvit.bench.stored import check_speeds, read_or_tell
from smallvit.errors import UserError

#: File with measured speeds of the methods, reused with another budget in minutes.
FILE = "speeds.json"


def find_speeds(
    out: str, settings: Mapping[str, Any], trials: Mapping[str, Job], pool: Pool, slots: int
) -> dict[str, dict[str, float]]:
    """Read the speeds of methods that are known from another budget, and measure the others.

    Args:
        out (str): Folder of the bench.
        settings (Mapping[str, Any]): Everything on which the speeds depend, as JSON values.
        trials (Mapping[str, Job]): Trial job of each method.
        pool (Pool): Pool that runs the jobs.
        slots (int): Number of concurrent jobs.

    Returns:
        dict[str, dict[str, float]]: Measurements by method. A method that cannot be trained gets
        those of another one: it is planned too, and its runs are recorded as failed.

    Raises:
        UserError: If no method can be trained.
    """
    path = osp.join(out, FILE)
    kept = read_or_tell(path, check_speeds, "repeating the trials") or {}
    known = kept.get("speeds", {}) if kept.get("settings") == settings else {}
    unknown = {name: job for name, job in trials.items() if name not in known}
    tried, failed = measure_speeds(unknown, pool, slots)
    speeds = known | tried
    if not speeds:
        raise UserError(f"no method can be trained; {failed}")
    from smallvit.utils.files import write_whole

    write_whole(path, json.dumps({"settings": settings, "speeds": speeds}, indent=1))
    return {name: speeds.get(name, next(iter(speeds.values()))) for name in trials}


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
