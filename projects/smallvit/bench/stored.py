"""What a bench left in its folder, checked: a kill may have cut it, a hand may have changed it."""

from __future__ import annotations

import os.path as osp
from collections.abc import Callable
from typing import Any

from smallvit.utils.json_files import read_object, require_count, require_number, require_type

#: Files that a message was printed for already, with it.
_told: dict[str, str] = {}


def read_or_tell(path: str, check: Callable[[dict], dict], otherwise: str) -> dict | None:
    """Read a file that the bench can do without, and say so where it is damaged.

    Args:
        path (str): The file.
        check (Callable): Takes its content and returns what is used of it; raises ValueError.
        otherwise (str): What happens without the file, for the message.

    Returns:
        dict | None: Its content; None if it is missing or damaged.
    """
    if not osp.lexists(path):
        return None
    try:
        return check(read_object(path))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError) as error:
        message = f"{path} is damaged ({reason_of(error)}): {otherwise}"
    if _told.get(path) != message:
        _told[path] = message
        print(message, flush=True)
    return None


def reason_of(error: Exception) -> str:
    """Say in a few words what is wrong with a file.

    Args:
        error (Exception): What was raised when it was checked.

    Returns:
        str: The reason.
    """
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def check_result(found: dict) -> dict:
    """Check ``result.json`` of a run."""
    for key in ("accuracy", "val_accuracy"):
        require_number(found[key], key, most=100)
    require_number(found["train_seconds"], "train_seconds")
    for key in ("iters", "params"):
        require_count(found[key], key)
    return found


def check_failure(found: dict) -> dict:
    """Check ``failure.json`` of a run."""
    for key in ("reason", "log"):
        require_type(found[key], key, str)
    return found


def check_seconds(found: dict) -> dict:
    """Check ``stored.json`` of a teacher."""
    require_number(found["seconds"], "seconds")
    return found


def check_costs(found: dict) -> dict:
    """Check ``cost.json``."""
    require_type(found["note"], "note", str)
    for name, cost in require_type(found["methods"], "methods", dict).items():
        require_type(cost, name, dict)
        for key in ("params", "flops", "images_per_second"):
            require_number(cost[key], f"{name}.{key}")
    return found


def check_record(found: dict) -> dict:
    """Take what the report shows out of ``run.json``."""
    packages = require_type(found.get("packages", {}), "packages", dict)
    git = require_type(found.get("git") or {}, "git", dict).get("smallvit")
    if git is not None:
        require_type(git, "git.smallvit", dict)
        git = {"commit": str(git["commit"]), "changed": bool(git["changed"])}
    return {**found, "packages": packages, "git": {"smallvit": git}}


def check_plan(plan: dict) -> dict[str, Any]:
    """Check ``plan.json``, whose settings and runs are dicts.

    Args:
        plan (dict): Its content.

    Returns:
        dict: The same.

    Raises:
        ValueError: If something in it cannot be.
    """
    settings = require_type(plan["settings"], "settings", dict)
    require_type(settings["data"], "settings.data", str)
    require_type(settings["flip"], "settings.flip", bool)
    for key in ("image_size", "batch_size"):
        require_count(settings[key], f"settings.{key}", 1, 1 << 24)
    require_number(settings["amount"], "settings.amount")
    if settings["budget"] not in ("minutes", "epochs", "iters"):
        raise ValueError(f"settings.budget is {settings['budget']!r}")
    for number, run in enumerate(require_type(plan["runs"], "runs", list)):
        _check_run(run, f"runs[{number}]")
    _check_data(require_type(plan["data"], "data", dict))
    for line in require_type(plan.get("command", []), "command", list):
        require_type(line, "command", str)
    for name, speed in require_type(plan.get("speeds") or {}, "speeds", dict).items():
        for key, value in require_type(speed, f"speeds.{name}", dict).items():
            require_number(value, f"speeds.{name}.{key}")
    return plan


def _check_run(run: Any, name: str) -> None:
    require_type(run, name, dict)
    require_type(run["method"], f"{name}.method", str)
    if run["samples"] is not None:
        require_count(run["samples"], f"{name}.samples", 1)
    require_count(run["seed"], f"{name}.seed")
    for key in ("iters", "evals"):
        require_count(run[key], f"{name}.{key}", 1)


def _check_data(data: dict) -> None:
    classes = require_type(data["classes"], "data.classes", list)
    for name in classes:
        require_type(name, "data.classes", str)
    counts = require_type(data["counts"], "data.counts", dict)
    require_type(data["same_images"], "data.same_images", bool)
    for key in ("tested_on", "selected_on"):
        require_type(data[key], f"data.{key}", str)
    for split in {"train", "val", *(() if data["same_images"] else ("test",)), *counts}:
        numbers = require_type(counts[split], f"data.counts.{split}", list)
        if len(numbers) != len(classes) or not classes:
            raise ValueError(f"data.counts.{split} has {len(numbers)} of {len(classes)} classes")
        if sum(require_count(number, f"data.counts.{split}") for number in numbers) == 0:
            raise ValueError(f"data.counts.{split} has no image")
