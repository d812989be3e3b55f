"""Finding the newest checkpoint that can be resumed, past those that cannot."""

from __future__ import annotations

import os
import os.path as osp
import zipfile

from mmengine.logging import print_log

from smallvit.engine.checkpoint.reading import load_from_local
from smallvit.errors import CheckpointError

POINTER = "last_checkpoint"
TEMPORARY = ".incomplete"


def newest_whole_checkpoint(folder: str) -> str | None:
    """Find the newest checkpoint of a work folder that is whole, and name those that are not.

    Args:
        folder (str): The work folder.

    Returns:
        str | None: Its path; None if the folder holds no checkpoints.

    Raises:
        CheckpointError: If there are checkpoints, and none is whole.
    """
    skipped = []
    for path in candidates(folder):
        reason = defect(path)
        if reason is None:
            _say(skipped, path)
            return path
        skipped.append(reason)
    if not skipped:
        return None
    raise CheckpointError(
        f"no checkpoint in {folder} can be resumed:\n  " + "\n  ".join(skipped) + "\n"
        "  (without --resume the training starts from the beginning)"
    )


def _say(skipped: list[str], path: str) -> None:
    for reason in skipped:
        print_log(f"skipped {reason}", logger="current", level=30)
    print_log(f"resuming {path}", logger="current")


def candidates(folder: str) -> list[str]:
    """List the checkpoints of a run, the most recent first.

    The file that ``last_checkpoint`` names comes first; the best checkpoints, which have
    no optimizer, are left out.

    Args:
        folder (str): The work folder.

    Returns:
        list[str]: Paths.
    """
    named = _pointed_at(folder)
    found = {osp.abspath(named)} if named else set()
    for place in {folder, osp.dirname(named) if named else folder}:
        if osp.isdir(place):
            found |= {
                osp.abspath(osp.join(place, name))
                for name in os.listdir(place)
                if name.endswith(".pth") and not name.startswith("best_")
            }
    first = osp.abspath(named) if named else None
    return sorted(found, key=lambda path: (path == first, _written(path)), reverse=True)


def _pointed_at(folder: str) -> str | None:
    pointer = osp.join(folder, POINTER)
    if not osp.isfile(pointer):
        return None
    with open(pointer, errors="replace") as file:
        path = file.read().strip()
    if not path or "\0" in path:
        return None
    # A work folder that was moved still has its checkpoints beside the pointer.
    beside = osp.join(folder, osp.basename(path))
    return beside if not osp.exists(path) and osp.exists(beside) else path


def _written(path: str) -> float:
    return osp.getmtime(path) if osp.exists(path) else 0.0


def defect(path: str) -> str | None:
    """Read a whole checkpoint and say why it cannot be resumed.

    Args:
        path (str): A file, or the folder that a strategy of MMEngine writes.

    Returns:
        str | None: Path and reason, or None if nothing is wrong with it.
    """
    if osp.isdir(path):
        return None  # of DeepSpeed or FSDP, which check their own files
    try:
        checkpoint = load_from_local(path, map_location="cpu")
    except CheckpointError as error:
        return str(error)
    if not isinstance(checkpoint, dict) or "meta" not in checkpoint:
        return f"{path}: holds no state of a training"
    if "optimizer" not in checkpoint:
        return f"{path}: holds no state of an optimizer"
    damaged = _damaged_entry(path)
    return None if damaged is None else f"{path}: damaged in {damaged}"


def _damaged_entry(path: str) -> str | None:
    """Torch reads tensors without looking at their check sums."""
    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return archive.testzip()


def last_checkpoint(folder: str) -> str | None:
    """Read which checkpoint of a folder was the last to be written.

    Args:
        folder (str): The work folder.

    Returns:
        str | None: Its path, or None if there is none.
    """
    pointer = osp.join(folder, POINTER)
    if not osp.isfile(pointer):
        return None
    with open(pointer) as file:
        return file.read().strip() or None
