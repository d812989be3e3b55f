"""Find the newest checkpoint that can be resumed."""

from __future__ import annotations

import os
import os.path as osp

from mmengine.logging import print_log

from smallvit.engine.checkpoint.reading import load_from_local
from smallvit.engine.checkpoint.run_files import is_inside
from smallvit.errors import CheckpointError

POINTER = "last_checkpoint"
TEMPORARY = ".incomplete"


def newest_whole_checkpoint(folder: str) -> str | None:
    """Find the newest complete checkpoint of a work folder, and log those that are skipped.

    Args:
        folder (str): The work folder.

    Returns:
        str | None: Its path; None if the folder has no checkpoints.

    Raises:
        CheckpointError: If there are checkpoints, but none is complete.
    """
    skipped = []
    for path in candidates(folder):
        reason = defect(path)
        if reason is None:
            _log_skipped(skipped, path, folder)
            return path
        skipped.append(reason)
    if not skipped:
        return None
    raise CheckpointError(
        f"no checkpoint in {folder} can be resumed:\n  " + "\n  ".join(skipped) + "\n"
        "  (start from the beginning without --resume)"
    )


def _log_skipped(skipped: list[str], path: str, folder: str) -> None:
    for reason in skipped:
        print_log(f"skipped {reason}", logger="current", level=30)
    if not is_inside(path, folder):
        print_log(
            f"{osp.join(folder, POINTER)} points outside of its folder, which has no checkpoint to "
            f"resume; using {path}",
            logger="current",
            level=30,
        )
    print_log(f"resuming {path}", logger="current")


def candidates(folder: str) -> list[str]:
    """List the checkpoints of a run, most recent first.

    The file that ``last_checkpoint`` names comes first; the best checkpoints, which have no
    optimizer state, are left out. Files that ``last_checkpoint`` names outside the folder are
    used only if the folder has no others, or none of them can be used.

    Args:
        folder (str): The work folder.

    Returns:
        list[str]: Paths of the checkpoints.
    """
    named = last_checkpoint(folder)
    inside = named is not None and is_inside(named, folder)
    found = _checkpoints_in(folder, [named] if inside else [])
    if named is not None and not inside:
        elsewhere = _checkpoints_in(osp.dirname(named), [named])
        found += [path for path in elsewhere if path not in found]
    return found


def _checkpoints_in(folder: str, first: list[str]) -> list[str]:
    names = os.listdir(folder) if osp.isdir(folder) else ()
    found = {osp.abspath(path) for path in first} | {
        osp.abspath(osp.join(folder, name))
        for name in names
        if name.endswith(".pth") and not name.startswith("best_")
    }
    named = {osp.abspath(path) for path in first}
    return sorted(found, key=lambda path: (path in named, _written(path)), reverse=True)


def _written(path: str) -> float:
    return osp.getmtime(path) if osp.exists(path) else 0.0


def defect(path: str) -> str | None:
    """Read a checkpoint completely and check whether it can be resumed.

    Args:
        path (str): A file, or the folder that a strategy of MMEngine writes.

    Returns:
        str | None: Path and reason if it cannot, None if it can.
    """
    if osp.isdir(path):
        return None  # written by DeepSpeed or FSDP, which verify their own files
    try:
        checkpoint = load_from_local(path, map_location="cpu")
    except CheckpointError as error:
        return str(error)
    if not isinstance(checkpoint, dict) or "meta" not in checkpoint:
        return f"{path}: contains no training state"
    if "optimizer" not in checkpoint:
        return f"{path}: contains no optimizer state"
    return None


def pointer_to(path: str, folder: str) -> str:
    """Content of ``last_checkpoint`` for a checkpoint: its path relative to the folder.

    This way a folder that is moved or copied resumes from its own checkpoints.

    Args:
        path (str): Path of the checkpoint.
        folder (str): Folder that holds ``last_checkpoint``.

    Returns:
        str: The relative path; the full path for a checkpoint on another machine.
    """
    return path if "://" in path else osp.relpath(path, folder)


def last_checkpoint(folder: str) -> str | None:
    """Read the path of the checkpoint that was written last in a folder.

    Args:
        folder (str): The work folder.

    Returns:
        str | None: Its path, or None if there is none. A file that is named by an absolute
        path, as MMEngine writes it, is looked for in the folder first.
    """
    pointer = osp.join(folder, POINTER)
    if not osp.isfile(pointer):
        return None
    with open(pointer, errors="replace") as file:
        text = file.read(1 << 16).strip()
    if not text or "\0" in text or "\n" in text:
        return None
    path = osp.join(folder, text)
    beside = osp.join(folder, osp.basename(text))
    return beside if not is_inside(path, folder) and osp.exists(beside) else path
