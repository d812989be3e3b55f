"""Run record: a JSON file with the config, environment, data and results of a run."""

from __future__ import annotations

import math
import os
import os.path as osp
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import torch
from mmengine.dist import get_world_size
from mmengine.runner import Runner

from smallvit.compat import moved
from smallvit.utils.data_fingerprint import fingerprint
from smallvit.utils.json_files import read_object, require_number, require_type

FILE = "run.json"
PACKAGES = (
    *(
        "smallvit",
        "torch",
        "torchvision",
        "numpy",
        "mmengine",
        "mmengine-lite",
        "mmcv",
        "mmcv-lite",
    ),
    *("mmpretrain", "mmdet", "mmsegmentation", "timm", "einops", "opencv-python", "pillow"),
)


def read_record(folder: str) -> dict[str, Any]:
    """Read the record of a work folder.

    Args:
        folder (str): The work folder.

    Returns:
        dict: The record; empty if it is missing or damaged (see :func:`damage_of`).
    """
    try:
        return read_object(osp.join(folder, FILE))
    except (OSError, ValueError):
        return {}


def damage_of(folder: str) -> str | None:
    """Describe how the record of a work folder is damaged.

    Args:
        folder (str): The work folder.

    Returns:
        str | None: A short description; None if it is intact or missing.
    """
    if not osp.lexists(osp.join(folder, FILE)):
        return None
    try:
        _checked(read_object(osp.join(folder, FILE)))
    except (OSError, ValueError, KeyError) as error:
        return f"no {error}" if isinstance(error, KeyError) else str(error)
    return None


def _checked(record: dict[str, Any]) -> dict[str, Any]:
    """Check the parts of a record that a new session builds on."""
    for session in require_type(record.get("sessions", []), "sessions", list):
        require_number(require_type(session, "sessions", dict)["seconds"], "sessions.seconds")
    for key in ("best", "final"):
        require_type(record.get(key) or {}, key, dict)
    return record


def new_record(runner: Runner, run_id: str, earlier: dict[str, Any]) -> dict[str, Any]:
    """Create the record of a run, or add a session to an earlier record.

    Args:
        runner (Runner): The runner that trains.
        run_id (str): Unique id of the run.
        earlier (dict): Record of the run that is continued; empty for a new run.

    Returns:
        dict: Record with a new session.
    """
    sessions = earlier.get("sessions")
    return {
        "id": run_id,
        "status": "running",
        "config_file": runner.cfg.filename,
        "config": runner.cfg.pretty_text,
        "seed": runner.seed,
        "processes": get_world_size(),
        "device": _device(),
        "python": platform.python_version(),
        "packages": _versions(),
        "git": {"smallvit": git_state(osp.dirname(__file__)), "project": git_state(".")},
        "data": _data(runner),
        "best": earlier.get("best"),
        "final": earlier.get("final"),
        "sessions": [*(sessions if isinstance(sessions, list) else []), _session(runner)],
    }


def _session(runner: Runner) -> dict[str, Any]:
    return {
        "command": shlex.join([sys.executable, *sys.argv]),
        "folder": os.getcwd(),
        "began": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "resumed": str(runner._load_from) if runner._resume and runner.iter else None,
        "from_iter": runner.iter,
    }


def _device() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{platform.processor() or platform.machine()} ({torch.get_num_threads()} threads)"


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def git_state(folder: str) -> dict[str, Any] | None:
    """Get the git commit of a folder.

    Args:
        folder (str): A folder, which may be in a repository.

    Returns:
        dict | None: ``commit`` and ``changed``, whether tracked files differ from it; None
        outside a repository, or without git.
    """
    commit = _git(folder, "rev-parse", "HEAD")
    if commit is None:
        return None
    changes = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "changed": bool(changes)}


def _git(folder: str, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", folder, *arguments], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _data(runner: Runner) -> dict[str, Any]:
    loops = {"train": runner._train_loop, "val": runner._val_loop}
    return {
        name: fingerprint(loop.dataloader.dataset)
        for name, loop in loops.items()
        if hasattr(loop, "dataloader")
    }


def plain_number(value: Any) -> Any:
    """Convert a metric to JSON values; JSON has no NaN.

    Args:
        value (Any): A number, a matrix such as a confusion matrix, perhaps numpy's or
            torch's, a container of these, or another value.

    Returns:
        Any: Numbers, strings, bools, None, and lists and dicts of these.
    """
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, Mapping):
        return {str(key): plain_number(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_number(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value if isinstance(value, (int, float, str, bool, type(None))) else str(value)


__getattr__ = moved.forward(__name__)
