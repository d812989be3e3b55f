"""Folds of a cross-validation: work folders, settings, results and lists of images."""

from __future__ import annotations

import hashlib
import json
import os
import os.path as osp
from collections.abc import Iterable, Mapping
from typing import Any

from smallvit.datasets.recognition import OwnData
from smallvit.engine.checkpoint.newest import candidates
from smallvit.engine.work_folder import hold, release
from smallvit.errors import UserError
from smallvit.utils.files import write_whole
from smallvit.utils.json_files import read_object

SETTINGS, RESULT, LISTS = "folds.json", "result.json", "folds.csv"


def fold_folder(work_dir: str, number: int) -> str:
    """Get the work folder of a fold.

    Args:
        work_dir (str): Folder of the cross-validation.
        number (int): Number of the fold, starting at 1.

    Returns:
        str: Path of the folder.
    """
    return osp.join(work_dir, f"fold_{number}")


def read_result(work_dir: str, number: int) -> dict[str, Any] | None:
    """Read the result of a fold.

    Args:
        work_dir (str): Folder of the cross-validation.
        number (int): Number of the fold, starting at 1.

    Returns:
        dict | None: Content of its ``result.json``; None if the fold is not finished.

    Raises:
        UserError: If the file is damaged.
    """
    path = osp.join(fold_folder(work_dir, number), RESULT)
    if not osp.exists(path):
        return None
    try:
        found = read_object(path)
        if not all(isinstance(found[key], dict) for key in ("metrics", "classes")):
            raise ValueError("metrics and classes must be objects")
        if not isinstance(found["counted"], str):
            raise ValueError("counted must be a string")
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} is damaged ({error}). Delete it to evaluate the fold again"
        ) from error
    return found


def start_or_resume(work_dir: str, settings: Mapping[str, Any]) -> None:
    """Start a cross-validation in a folder, or resume the existing one.

    Args:
        work_dir (str): Folder of the cross-validation.
        settings (Mapping): JSON-serializable settings of the folds and their training.

    Raises:
        UserError: If existing folds were trained with other settings or other images.
        WorkFolderError: If another process is training a fold.
    """
    path = osp.join(work_dir, SETTINGS)
    settings = json.loads(json.dumps(settings))
    if osp.exists(path):
        before = _read_settings(path)
        if _has_trained(work_dir):
            _require_same(before, settings, work_dir)
        elif before != settings:
            _require_free(work_dir)
    os.makedirs(work_dir, exist_ok=True)
    write_whole(path, json.dumps(settings, indent=2))


def _read_settings(path: str) -> dict[str, Any]:
    try:
        return read_object(path)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{path}, which stores the settings of the folds, is damaged ({error}). Choose another "
            "folder with --work-dir"
        ) from error


def _folders(work_dir: str) -> list[str]:
    return [one.path for one in os.scandir(work_dir) if one.is_dir() and one.name[:5] == "fold_"]


def _has_trained(work_dir: str) -> bool:
    return any(osp.exists(osp.join(one, RESULT)) or candidates(one) for one in _folders(work_dir))


def _require_free(work_dir: str) -> None:
    """Raise an error if a process has just started training with the earlier settings."""
    for folder in _folders(work_dir):
        hold(folder)
        release(folder)


def _require_same(before: Mapping[str, Any], now: Mapping[str, Any], work_dir: str) -> None:
    way = "Repeat these settings, or choose another folder with --work-dir"
    for key in sorted(set(before) | set(now)):
        absent = key == "image_sizes" and key not in before  # in folds of earlier versions
        if absent or before.get(key) == now.get(key):
            continue
        if key in ("images", "image_sizes"):
            raise UserError(
                f"the images or labels have changed since the folds in {work_dir} were trained. "
                "Restore them, or choose another folder with --work-dir"
            )
        flag = f"--{key.replace('_', '-')}"
        raise UserError(
            f"the folds in {work_dir} were trained with {flag} {_shown(before.get(key))} (now: "
            f"{_shown(now.get(key))}). {way}"
        )


def _shown(value: Any) -> str:
    return "not given" if value in (None, False) else str(value)


def fingerprint(data: OwnData) -> str:
    """Compute a fingerprint of the images and their assignment to the folds.

    Args:
        data (OwnData): Data of the first fold.

    Returns:
        str: Digest of the image lists of both splits and of the class counts.
    """
    lists = [_lines(data, split) for split in ("train", "val")]
    counts = {split: sorted(data.counts[split].items()) for split in ("train", "val")}
    text = json.dumps([data.form, list(data.classes), lists, counts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _lines(data: OwnData, split: str) -> list[str]:
    with open(data.lists[split], encoding="utf-8") as file:
        return file.read().splitlines()


def write_fold_lists(work_dir: str, folds: Iterable[OwnData]) -> str:
    """Write a CSV file with the fold of each image.

    Args:
        work_dir (str): Folder of the cross-validation.
        folds (Iterable[OwnData]): Data of all folds, in order.

    Returns:
        str: Path of the file, which has the columns ``image`` and ``fold``.
    """
    import csv
    import io

    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["image", "fold"])
    for number, data in enumerate(folds, 1):
        for line in _lines(data, "val"):
            rows.writerow([line.partition("\t")[0], number])  # without the label map
    path = osp.join(work_dir, LISTS)
    write_whole(path, text.getvalue())
    return path
