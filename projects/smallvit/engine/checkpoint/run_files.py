"""What a run wrote, which is all that may be removed for it.

A run has an id, in its ``run.json`` and in its checkpoints. One that is resumed in the same
folder goes on with it; anywhere else it is a new run, and the files of the old one stay.
"""

from __future__ import annotations

import json
import os
import os.path as osp
import re
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from mmengine.logging import print_log
from mmengine.runner import Runner

from smallvit.engine.checkpoint.reading import load_from_local
from smallvit.engine.run_record import read_record
from smallvit.errors import CheckpointError
from smallvit.utils.files import write_whole

#: Where a checkpoint keeps the id, in its ``meta``; ``run.json`` has it as ``id``.
KEY = "run_id"
#: In the folders that strategies write as checkpoints: the id, and the files.
MARKER = "smallvit_run.json"


class RunFiles:
    """The checkpoints of a run.

    Args:
        run_id (str): Id of the run.

    Attributes:
        resumed (bool): Whether a checkpoint was taken up already.
    """

    def __init__(self, run_id: str) -> None:
        self.id = run_id
        self.resumed = False
        self._written: dict[str, tuple] = {}

    def note(self, path: str) -> None:
        """Remember a checkpoint that this process wrote.

        Args:
            path (str): A file, or the folder of a strategy.
        """
        if osp.isdir(path):
            content = {"run": self.id, "files": _files_below(path)}
            write_whole(osp.join(path, MARKER), json.dumps(content))
        else:
            self._written[osp.abspath(path)] = _signature(path)

    def own(self, path: str) -> bool:
        """Tell whether a checkpoint is of this run.

        Args:
            path (str): A file, or the folder of a strategy.

        Returns:
            bool: Whether this process wrote it and nobody changed it, or it has the run's id.
        """
        if osp.islink(path) or not osp.exists(path):
            return False
        if osp.isdir(path):
            return _marker(path).get("run") == self.id
        written = self._written.get(osp.abspath(path))
        return written == _signature(path) if written else id_in(path) == self.id

    def make_way(self, path: str) -> None:
        """Rename what has the name of a checkpoint to be and is not of this run, with a word.

        Args:
            path (str): Where the checkpoint will be: a file, or the folder of a strategy.
        """
        if not osp.lexists(path) or self.own(path):
            return
        former = None
        if not osp.islink(path):
            former = _marker(path).get("run") if osp.isdir(path) else id_in(path)
        stem, ending = osp.splitext(path)
        name = f"{stem}-{former[:8] if is_id(former) else 'former'}"
        number, aside = 1, name + ending
        while osp.lexists(aside):
            number, aside = number + 1, f"{name}_{number}{ending}"
        os.rename(path, aside)
        print_log(
            f"{path} is not of this run, which writes one of that name: it is {aside} now",
            logger="current",
            level=30,
        )

    def remove(self, path: str, folder: str) -> None:
        """Remove a checkpoint, if it is of this run and in its folder; else say that it stays.

        Args:
            path (str): A file, or the folder of a strategy.
            folder (str): Where the run writes its checkpoints.
        """
        if not osp.lexists(path):
            return
        if not is_inside(path, folder) or not self.own(path):
            print_log(f"{path} stays: this run did not write it", logger="current")
        elif osp.isdir(path):
            _remove_folder(path)
        else:
            os.remove(path)
            self._written.pop(osp.abspath(path), None)


def run_files(runner: Runner) -> RunFiles:
    """The checkpoints of a runner's run, which is a new one if nothing is known of it.

    Args:
        runner (Runner): The runner.

    Returns:
        RunFiles: The same for every call.
    """
    found = runner.__dict__.get("_smallvit_run_files")
    if found is None:
        found = runner.__dict__["_smallvit_run_files"] = RunFiles(uuid.uuid4().hex)
    return found


def continue_run(runner: Runner, checkpoint: Mapping[str, Any]) -> bool:
    """Go on with the run of a checkpoint, if it is the one of the work folder.

    Args:
        runner (Runner): The runner that resumes.
        checkpoint (Mapping): What it loaded.

    Returns:
        bool: Whether the checkpoint is of the run that the work folder's record is of.
    """
    stored = checkpoint["meta"].get(KEY)
    if not is_id(stored) or stored != read_record(runner.work_dir).get("id"):
        return False
    run_files(runner).id = stored
    return True


def is_id(value: Any) -> bool:
    """Tell whether a value is the id of a run, and nothing that a path could be made of.

    Args:
        value (Any): What a checkpoint or a record says.

    Returns:
        bool: Whether it is.
    """
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value) is not None


def id_in(path: str) -> str | None:
    """Read of which run a checkpoint is.

    Args:
        path (str): A file.

    Returns:
        str | None: Its id; None if it has none or cannot be read.
    """
    try:
        checkpoint = load_from_local(path, map_location="cpu")
    except CheckpointError:
        return None
    meta = checkpoint.get("meta")
    return meta.get(KEY) if isinstance(meta, dict) else None


def is_inside(path: str, folder: str) -> bool:
    """Tell whether a path leads into a folder, links followed.

    Args:
        path (str): A path; its last part may be a link.
        folder (str): The folder.

    Returns:
        bool: Whether it does.
    """
    place, root = osp.realpath(osp.dirname(osp.abspath(path))), osp.realpath(folder)
    return place == root or place.startswith(osp.join(root, ""))


def _signature(path: str) -> tuple:
    found = os.stat(path)
    return found.st_ino, found.st_size, found.st_mtime_ns


def _files_below(folder: str) -> list[str]:
    return [
        osp.relpath(osp.join(place, name), folder)
        for place, _, names in os.walk(folder)
        for name in names
    ]


def _marker(folder: str) -> dict[str, Any]:
    try:
        with open(osp.join(folder, MARKER)) as file:
            found = json.load(file)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _remove_folder(folder: str) -> None:
    """Remove what the marker names, and the folders that are empty then."""
    names = [name for name in _marker(folder).get("files", []) if isinstance(name, str)]
    for name in (*names, MARKER):
        path = osp.join(folder, name)
        if is_inside(path, folder) and osp.isfile(path):
            os.remove(path)
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):  # it holds files of others
            os.rmdir(place)
    if osp.exists(folder):
        print_log(f"{folder} stays: it holds files that this run did not write", logger="current")
