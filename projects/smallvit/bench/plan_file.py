"""Plan file of the bench: written, read, and merged with the runs of a later command."""

from __future__ import annotations

import json
import os.path as osp
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace

from smallvit.bench.settings import BenchSettings, Run
from smallvit.bench.stored import check_plan, reason_of
from smallvit.errors import UserError
from smallvit.utils.data_fingerprint import same_data
from smallvit.utils.json_files import read_object

FILE = "plan.json"


def to_json(settings: BenchSettings, data: dict, runs: Sequence[Run], extra: dict) -> str:
    """Serialize a plan.

    Args:
        settings (BenchSettings): Settings of the bench.
        data (dict): Description of the dataset.
        runs (Sequence[Run]): Runs of the bench.
        extra (dict): Further entries to store.

    Returns:
        str: Content of ``plan.json``.
    """
    content = {"settings": asdict(settings), "data": data, "runs": [asdict(run) for run in runs]}
    return json.dumps(content | extra, indent=1)


def read_plan(out: str) -> dict | None:
    """Read the plan of a bench if it exists.

    Args:
        out (str): Folder of the bench.

    Returns:
        dict | None: ``settings`` (BenchSettings), ``data`` (dict), ``runs`` (list[Run]) and further
        entries.

    Raises:
        UserError: If the file is damaged.
    """
    path = osp.join(out, FILE)
    if not osp.lexists(path):
        return None
    try:
        plan = check_plan(read_object(path))
        plan["settings"] = BenchSettings(**plan["settings"])
        plan["runs"] = [Run(**run) for run in plan["runs"]]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise UserError(
            f"{path} is damaged or not a plan of this bench ({reason_of(error)}); use another --out"
        ) from error
    return plan


def _same_images(before: dict, now: dict) -> bool:
    stored, prints = (each.get("fingerprints") or {} for each in (before, now))
    known = {key: now[key] for key in now if key != "images" or key in before}  # new in plans
    if {**before, "fingerprints": None} != {**known, "fingerprints": None}:
        return False
    if not isinstance(stored, Mapping) or set(stored) != set(prints):
        return False
    return all(same_data(stored[split], prints[split]) for split in prints)


def merge_plans(
    old: dict | None, settings: BenchSettings, data: dict, runs: Sequence[Run]
) -> tuple[list[Run], list[Run]]:
    """Check that a bench can be resumed in a folder, and merge its runs with the requested ones.

    Args:
        old (dict | None): Plan in the folder, as returned by :func:`read_plan`.
        settings (BenchSettings): Current settings.
        data (dict): Current description of the dataset.
        runs (Sequence[Run]): Runs requested now.

    Returns:
        tuple[list[Run], list[Run]]: Requested runs, with the lengths of an earlier plan if there
        are any, and earlier runs that are not requested now. Added seeds have the length of the
        others, which may have been continued or planned for another number of runs.

    Raises:
        UserError: If earlier results would not be comparable with the requested runs.
    """
    if old is None:
        return list(runs), []
    now = asdict(settings)
    changed = [
        f"{key} was {value!r} and is {now[key]!r} now"
        for key, value in asdict(old["settings"]).items()
        if value != now[key]
    ]
    # Another ignored value changes the classes of the same images.
    if old["settings"].void == settings.void and not _same_images(old["data"], data):
        changed.append("the images have changed")
    if changed:
        raise UserError(
            f"the folder contains a bench with incompatible settings: {'; '.join(changed)}. "
            "Use another --out, or the previous settings"
        )
    kept = {(run.method, run.samples, run.seed): run for run in old["runs"]}
    longest: dict[tuple[str, int | None], Run] = {}
    for run in sorted(old["runs"], key=lambda run: run.iters):
        longest[run.method, run.samples] = run
    wanted = [
        kept.pop((run.method, run.samples, run.seed), None)
        or replace(longest.get((run.method, run.samples), run), seed=run.seed)
        for run in runs
    ]
    return wanted, list(kept.values())
