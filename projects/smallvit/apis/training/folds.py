"""The folds of a cross-validation: a folder for each, what they were made with, and of what."""

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
    """Name the work folder of a fold.

    Args:
        work_dir (str): The folder of all folds.
        number (int): Which one, from 1.

    Returns:
        str: Its path.
    """
    return osp.join(work_dir, f"fold_{number}")


def read_result(work_dir: str, number: int) -> dict[str, Any] | None:
    """Read what a fold came to.

    Args:
        work_dir (str): The folder of all folds.
        number (int): Which one, from 1.

    Returns:
        dict | None: The content of its ``result.json``; None where it is not finished.

    Raises:
        UserError: If the file is damaged.
    """
    path = osp.join(fold_folder(work_dir, number), RESULT)
    if not osp.exists(path):
        return None
    try:
        found = read_object(path)
        if not all(isinstance(found[key], dict) for key in ("metrics", "classes")):
            raise ValueError("metrics and classes are no objects")
        if not isinstance(found["counted"], str):
            raise ValueError("counted is no text")
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"{path} is damaged ({error}): remove it, and the fold is measured again"
        ) from error
    return found


def take_up(work_dir: str, settings: Mapping[str, Any]) -> None:
    """Begin a cross-validation in a folder, or go on with the one that is there.

    Args:
        work_dir (str): The folder of all folds.
        settings (Mapping): What decides about the folds and their training, as values of JSON.

    Raises:
        UserError: If folds there were trained with other settings, or of other images.
        WorkFolderError: If another process has begun to.
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
            f"{path}, which says what the folds were trained with, is damaged ({error}): name "
            "another folder with --work-dir"
        ) from error


def _folders(work_dir: str) -> list[str]:
    return [one.path for one in os.scandir(work_dir) if one.is_dir() and one.name[:5] == "fold_"]


def _has_trained(work_dir: str) -> bool:
    return any(osp.exists(osp.join(one, RESULT)) or candidates(one) for one in _folders(work_dir))


def _require_free(work_dir: str) -> None:
    """Refuse other settings while a training with the earlier ones has just begun."""
    for folder in _folders(work_dir):
        hold(folder)
        release(folder)


def _require_same(before: Mapping[str, Any], now: Mapping[str, Any], work_dir: str) -> None:
    way = "go on with these, or name another folder with --work-dir"
    for key in sorted(set(before) | set(now)):
        if before.get(key) == now.get(key):
            continue
        if key == "images":
            raise UserError(
                f"the folds in {work_dir} are of other images or labels than the data has now: "
                "put these back, or name another folder with --work-dir"
            )
        flag = f"--{key.replace('_', '-')}"
        raise UserError(
            f"the folds in {work_dir} were trained with {flag} {_shown(before.get(key))}, now it "
            f"is {_shown(now.get(key))}: {way}"
        )


def _shown(value: Any) -> str:
    return "not given" if value in (None, False) else str(value)


def fingerprint(data: OwnData) -> str:
    """Tell a division of images from another.

    Args:
        data (OwnData): The first fold.

    Returns:
        str: A digest of the images of both parts, and of how many each class has.
    """
    lists = [_lines(data, split) for split in ("train", "val")]
    counts = {split: sorted(data.counts[split].items()) for split in ("train", "val")}
    text = json.dumps([data.form, list(data.classes), lists, counts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _lines(data: OwnData, split: str) -> list[str]:
    with open(data.lists[split], encoding="utf-8") as file:
        return file.read().splitlines()


def write_fold_lists(work_dir: str, folds: Iterable[OwnData]) -> str:
    """Write which image is in which fold.

    Args:
        work_dir (str): The folder of all folds.
        folds (Iterable[OwnData]): The folds, from the first.

    Returns:
        str: The file, a table of ``image`` and ``fold``.
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
