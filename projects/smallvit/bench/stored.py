"""Validation of the files in a bench folder, which may be truncated or edited."""

from __future__ import annotations

import os.path as osp
from collections.abc import Callable
from typing import Any

from smallvit.utils.json_files import (
    brief,
    read_object,
    require_count,
    require_number,
    require_type,
)

#: Last message that was printed for each file.
_told: dict[str, str] = {}


def read_or_tell(path: str, check: Callable[[dict], dict], otherwise: str) -> dict | None:
    """Read an optional file, and print a message if it is damaged.

    Args:
        path (str): Path of the file.
        check (Callable): Function that validates and returns the content, or raises ValueError.
        otherwise (str): Consequence of the missing file, for the message.

    Returns:
        dict | None: Content of the file; None if it is missing or damaged.
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
    """Describe briefly what is wrong with a file.

    Args:
        error (Exception): Exception that was raised by the check.

    Returns:
        str: Reason for a message.
    """
    return f"no {error}" if isinstance(error, KeyError) else str(error)


def check_result(found: dict) -> dict:
    """Check ``result.json`` of a run."""
    for key in ("accuracy", "val_accuracy"):
        require_number(found[key], key, most=100)
    require_number(found["train_seconds"], "train_seconds")
    for key in ("iters", "params"):
        require_count(found[key], key)
    for point in require_type(found.get("curve", []), "curve", list):
        if len(require_type(point, "curve", list)) != 2:
            raise ValueError("curve contains a point that is not a pair")
        require_count(point[0], "curve")
        require_number(point[1], "curve", most=100)
    for name, value in require_type(found.get("metrics", {}), "metrics", dict).items():
        require_number(value, f"metrics[{brief(name)}]", least=-1)
    if found.get("pretraining") is not None:
        check_pretraining(require_type(found["pretraining"], "pretraining", dict))
    return found


def check_pretraining(found: dict) -> dict:
    """Check ``pretraining.json`` of a run."""
    for key in ("method", "note"):
        require_type(found[key], key, str)
    for key in ("images", "iters"):
        require_count(found[key], key, 1)
    require_number(found["seconds"], "seconds")
    for name, value in require_type(found["features"], "features", dict).items():
        require_number(value, f"features.{name}")
    return found


def check_trial(found: dict) -> dict:
    """Check ``trial.json`` of a short training."""
    require_number(found["accuracy"], "accuracy", most=100)
    require_count(found["iters"], "iters", 1)
    require_number(found["seconds"], "seconds")
    return found


def check_curve(found: dict) -> dict:
    """Check ``curve.json`` of a run, accuracies by step, and sort it by step."""
    for at, accuracy in found.items():
        if not (at.isdecimal() and len(at) < 12):
            raise ValueError(f"{brief(at)} is not a step")
        require_number(accuracy, at, most=100)
    return {at: found[at] for at in sorted(found, key=int)}


def check_predictions(found: dict, classes: int) -> dict:
    """Check ``predictions.json`` of a run.

    Args:
        found (dict): Content of the file.
        classes (int): Number of classes.

    Returns:
        dict: ``labels``, ``predicted``, ``confidence`` and ``images``, of one length.
    """
    keys = ("labels", "predicted", "confidence", "images")
    lists = {key: require_type(found[key], key, list) for key in keys}
    if len({len(each) for each in lists.values()}) != 1 or not lists["labels"]:
        raise ValueError("its lists are empty or of different lengths")
    for key in ("labels", "predicted"):
        for each in lists[key]:
            require_count(each, key, 0, classes - 1)
    for each in lists["confidence"]:
        require_number(each, "confidence", most=1.01)
    for each in lists["images"]:
        require_type(each, "images", str)
    return lists


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
        for key in ("step_seconds", "memory_mib"):  # missing in earlier versions
            if cost.get(key) is not None:
                require_number(cost[key], f"{name}.{key}")
    return found


def check_record(found: dict) -> dict:
    """Check the entries of ``run.json`` that the report shows."""
    packages = require_type(found.get("packages", {}), "packages", dict)
    git = require_type(found.get("git") or {}, "git", dict).get("smallvit")
    if git is not None:
        require_type(git, "git.smallvit", dict)
        git = {"commit": str(git["commit"]), "changed": bool(git["changed"])}
    return {**found, "packages": packages, "git": {"smallvit": git}}


def check_plan(plan: dict) -> dict[str, Any]:
    """Check ``plan.json``, whose settings and runs are dicts.

    Args:
        plan (dict): Content of the file.

    Returns:
        dict: The same plan.

    Raises:
        ValueError: If an entry is invalid.
    """
    settings = require_type(plan["settings"], "settings", dict)
    require_type(settings["data"], "settings.data", str)
    require_type(settings["flip"], "settings.flip", bool)
    for key in ("image_size", "batch_size"):
        require_count(settings[key], f"settings.{key}", 1, 1 << 24)
    require_number(settings["amount"], "settings.amount")
    require_number(settings.get("target", 0.0), "settings.target")
    require_type(settings.get("search", False), "settings.search", bool)
    require_type(settings.get("unlabeled", ""), "settings.unlabeled", str)
    require_number(settings.get("pretraining", 0.5), "settings.pretraining", most=1)
    require_type(settings.get("prepared", ""), "settings.prepared", str)
    require_count(settings.get("val_samples", 0), "settings.val_samples")
    if settings.get("void") is not None:
        require_count(settings["void"], "settings.void", most=255)
    for key, known in (
        ("sizes", ("published", "params", "flops")),
        ("schedule", ("cosine", "trapezoid")),
        ("task", ("classification", "detection", "segmentation")),
    ):
        if settings.get(key, known[0]) not in known:
            raise ValueError(f"settings.{key} is {brief(settings[key])}, none of {known}")
    if settings["budget"] not in ("minutes", "epochs", "iters"):
        raise ValueError(f"settings.budget is {settings['budget']!r}")
    for number, run in enumerate(require_type(plan["runs"], "runs", list)):
        _check_run(run, f"runs[{number}]")
    task = settings.get("task", "classification")
    _check_data(require_type(plan["data"], "data", dict), task == "classification")
    for line in require_type(plan.get("command", []), "command", list):
        require_type(line, "command", str)
    for name, fitted in require_type(plan.get("networks") or {}, "networks", dict).items():
        require_type(fitted, f"networks.{name}", dict)
        require_count(fitted["width"], f"networks.{name}.width", 0, 1 << 20)
        require_number(fitted["size"], f"networks.{name}.size")
    for path, digest in require_type(plan.get("configs") or {}, "configs", dict).items():
        require_type(digest, f"configs.{path}", str)
    for number, each in enumerate(require_type(plan.get("chosen") or [], "chosen", list)):
        _check_choice(each, f"chosen[{number}]")
    _check_speeds(plan.get("speeds") or {})
    for name, pace in require_type(plan.get("paces") or {}, "paces", dict).items():
        for key in ("setup", "step", "training"):
            require_number(pace[key], f"paces.{name}.{key}")
    for name, reason in require_type(plan.get("unavailable") or {}, "unavailable", dict).items():
        require_type(reason, f"unavailable.{name}", str)
    return plan


def check_speeds(found: dict) -> dict:
    """Check ``speeds.json`` of a bench in minutes."""
    _check_speeds(found["speeds"])
    for name, speed in found["speeds"].items():
        if set(speed) != {"setup", "step", "val", "test"}:
            raise ValueError(f"speeds.{name} has {brief(sorted(speed))}")
    require_type(found["settings"], "settings", dict)
    return found


def _check_speeds(speeds: Any) -> None:
    for name, speed in require_type(speeds, "speeds", dict).items():
        for key, value in require_type(speed, f"speeds.{name}", dict).items():
            require_number(value, f"speeds.{name}.{key}")


def _check_choice(choice: Any, name: str) -> None:
    require_type(choice, name, dict)
    require_type(choice["method"], f"{name}.method", str)
    if choice["samples"] is not None:
        require_count(choice["samples"], f"{name}.samples", 1)
    require_number(choice["rate"], f"{name}.rate", 1e-6, 1e6)
    require_number(choice["seconds"], f"{name}.seconds")
    _check_weight(choice.get("weight", ""), f"{name}.weight")
    for key in ("trials", "weights"):
        for value, accuracy in require_type(choice.get(key, {}), f"{name}.{key}", dict).items():
            require_number(accuracy, f"{name}.{key}.{value}", most=100)


def _check_weight(weight: Any, name: str) -> None:
    require_type(weight, name, str)
    if weight not in ("", "balanced"):
        require_number(float(weight), name, most=1e6)


def _check_run(run: Any, name: str) -> None:
    require_type(run, name, dict)
    require_type(run["method"], f"{name}.method", str)
    if run["samples"] is not None:
        require_count(run["samples"], f"{name}.samples", 1)
    require_count(run["seed"], f"{name}.seed")
    for key in ("iters", "evals"):
        require_count(run[key], f"{name}.{key}", 1)
    require_count(run.get("width", 0), f"{name}.width", 0, 1 << 20)
    require_number(run.get("rate", 1.0), f"{name}.rate", 1e-6, 1e6)
    for key in ("begun", "pretraining"):
        require_count(run.get(key, 0), f"{name}.{key}")
    _check_weight(run.get("weight", ""), f"{name}.weight")


def _check_data(data: dict, classified: bool) -> None:
    classes = require_type(data["classes"], "data.classes", list)
    for name in classes:
        require_type(name, "data.classes", str)
    counts = require_type(data["counts"], "data.counts", dict)
    for key in ("same_images", "several"):
        require_type(
            data[key] if key == "same_images" else data.get(key, False), f"data.{key}", bool
        )
    for split, number in require_type(data.get("images", {}), "data.images", dict).items():
        require_count(number, f"data.images.{split}")
    for key in ("tested_on", "selected_on"):
        require_type(data[key], f"data.{key}", str)
    for split in {"train", "val", *(() if data["same_images"] else ("test",)), *counts}:
        numbers = require_type(counts[split], f"data.counts.{split}", list)
        if len(numbers) != len(classes) or not classes:
            raise ValueError(f"data.counts.{split} has {len(numbers)} of {len(classes)} classes")
        whole = sum(require_count(number, f"data.counts.{split}") for number in numbers)
        if classified and whole == 0:  # for other tasks, objects are counted
            raise ValueError(f"data.counts.{split} has no image")
