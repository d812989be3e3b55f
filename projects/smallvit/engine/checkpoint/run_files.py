"""Track the checkpoints that a run wrote, because only these may be removed.

Each run has an ID, stored in ``run.json`` and in its checkpoints. A run that resumes in the same
folder keeps its ID; in another folder it is a new run, and the files of the old run are kept.
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

#: Key of the id in the ``meta`` of a checkpoint; ``run.json`` has it as ``id``.
KEY = "run_id"
#: Marker file in checkpoint folders that strategies write: the id and the files.
MARKER = "smallvit_run.json"


class RunFiles:
    """Checkpoints written by a run.

    Args:
        run_id (str): ID that is stored in the checkpoints of the run.

    Attributes:
        resumed (bool): Whether a checkpoint has been resumed already.
    """

    def __init__(self, run_id: str) -> None:
        self.id = run_id
        self.resumed = False
        self._written: dict[str, tuple] = {}

    def record(self, path: str) -> None:
        """Record a checkpoint that this process wrote.

        Args:
            path (str): A file, or the folder of a strategy.
        """
        if osp.isdir(path):
            content = {"run": self.id, "files": _files_below(path)}
            write_whole(osp.join(path, MARKER), json.dumps(content))
        else:
            self._written[osp.abspath(path)] = _signature(path)

    def own(self, path: str) -> bool:
        """Check whether a checkpoint belongs to this run.

        Args:
            path (str): A file, or the folder of a strategy.

        Returns:
            bool: Whether this process wrote it and it is unchanged, or it has the run's id.
        """
        if osp.islink(path) or not osp.exists(path):
            return False
        if osp.isdir(path):
            return _marker(path).get("run") == self.id
        written = self._written.get(osp.abspath(path))
        return written == _signature(path) if written else id_in(path) == self.id

    def rename_existing(self, path: str) -> None:
        """Rename an existing file of another run that has the name of a new checkpoint, and log it.

        Args:
            path (str): Path of the new checkpoint: a file, or the folder of a strategy.
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
            f"{path} does not belong to this run, which writes a file of the same name; renamed to "
            f"{aside}",
            logger="current",
            level=30,
        )

    def remove(self, path: str, folder: str) -> None:
        """Remove a checkpoint of this run in its own folder; log any other, which is kept.

        Args:
            path (str): A file, or the folder of a strategy.
            folder (str): Folder to which the run writes its checkpoints.
        """
        if not osp.lexists(path):
            return
        if not is_inside(path, folder) or not self.own(path):
            print_log(f"kept {path}, which this run did not write", logger="current")
        elif osp.isdir(path):
            _remove_folder(path)
        else:
            os.remove(path)
            self._written.pop(osp.abspath(path), None)


def run_files(runner: Runner) -> RunFiles:
    """Get the checkpoints of a runner's run, which is a new run unless it was resumed.

    Args:
        runner (Runner): The runner that trains.

    Returns:
        RunFiles: The same object for every call.
    """
    found = runner.__dict__.get("_smallvit_run_files")
    if found is None:
        found = runner.__dict__["_smallvit_run_files"] = RunFiles(uuid.uuid4().hex)
    return found


def continue_run(runner: Runner, checkpoint: Mapping[str, Any]) -> bool:
    """Continue the run of a checkpoint if it is the one recorded in the work folder.

    Args:
        runner (Runner): The runner that resumes.
        checkpoint (Mapping): The checkpoint that it loaded.

    Returns:
        bool: Whether the checkpoint belongs to the run recorded in the work folder.
    """
    stored = checkpoint["meta"].get(KEY)
    if not is_id(stored) or stored != read_record(runner.work_dir).get("id"):
        return False
    run_files(runner).id = stored
    return True


def is_id(value: Any) -> bool:
    """Check whether a value is a run id, and cannot be part of a path.

    Args:
        value (Any): A value from a checkpoint or a record.

    Returns:
        bool: Whether it is an id.
    """
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{32}", value) is not None


def id_in(path: str) -> str | None:
    """Read the run id of a checkpoint.

    Args:
        path (str): Path of a checkpoint file.

    Returns:
        str | None: The id; None if it has none or cannot be read.
    """
    try:
        checkpoint = load_from_local(path, map_location="cpu")
    except CheckpointError:
        return None
    meta = checkpoint.get("meta")
    return meta.get(KEY) if isinstance(meta, dict) else None


def is_inside(path: str, folder: str) -> bool:
    """Check whether a path is inside a folder, with links resolved.

    Args:
        path (str): A path; its last part may be a link.
        folder (str): The folder that should contain it.

    Returns:
        bool: Whether it is inside.
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
    """Remove the files listed in the marker, and the folders that this leaves empty."""
    names = [name for name in _marker(folder).get("files", []) if isinstance(name, str)]
    for name in (*names, MARKER):
        path = osp.join(folder, name)
        if is_inside(path, folder) and osp.isfile(path):
            os.remove(path)
    for place, _, _ in os.walk(folder, topdown=False):
        with suppress(OSError):  # the folder holds other files
            os.rmdir(place)
    if osp.exists(folder):
        print_log(f"kept {folder}, which contains files of other runs", logger="current")
