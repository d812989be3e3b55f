"""Calibrations in checkpoints: our layout, and that of the official ``.pth.tar`` files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from smallvit.converters import convert, revert, unwrap
from smallvit.engine.checkpoint.reading import load_from_local
from smallvit.plugins.multi_exit.calibration import KEY, Calibration, CalibrationError, Curve
from smallvit.utils.files import whole_file

#: What official files hold beside ``model_state_dict``.
OFFICIAL_KEYS = (
    "flops",
    "anytime_classification",
    "dynamic_threshold",
    "budgeted_batch_classification",
)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint file, tensors and plain values only.

    Args:
        path (str | Path): The file.

    Returns:
        dict: Its content.
    """
    return load_from_local(path, map_location="cpu")


def write_checkpoint(checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Write a checkpoint under a temporary name and rename it when it is complete.

    Args:
        checkpoint (Mapping): What to write.
        path (str | Path): The file.
    """
    with whole_file(path) as temporary, open(temporary, "wb") as file:
        torch.save(dict(checkpoint), file)


def read_calibration(checkpoint: Mapping[str, Any], source: str = "the checkpoint") -> Calibration:
    """Find the calibration in a loaded checkpoint, ours or an official one.

    Args:
        checkpoint (Mapping): Content of the file.
        source (str): Its name, for errors. Defaults to "the checkpoint".

    Returns:
        Calibration: The calibration.

    Raises:
        CalibrationError: If it has none.
    """
    if KEY in checkpoint:
        return Calibration.from_dict(checkpoint[KEY])
    if "flops" in checkpoint:
        return official_calibration(checkpoint)
    raise CalibrationError(
        f"{source} has no FLOPs of exits and no thresholds (neither {KEY!r} nor the official "
        f"{', '.join(map(repr, OFFICIAL_KEYS))}): run tools/multi_exit/calibrate.py"
    )


def official_calibration(checkpoint: Mapping[str, Any]) -> Calibration:
    """Read what an official file holds beside its weights.

    Args:
        checkpoint (Mapping): ``flops``, and any of ``anytime_classification``,
            ``dynamic_threshold`` and ``budgeted_batch_classification``.

    Returns:
        Calibration: The thresholds with their published curve as ``evaluation``.
    """
    flops = _numbers(checkpoint["flops"])
    rows = checkpoint.get("dynamic_threshold")
    rows = [] if rows is None else [_numbers(row) for row in rows]
    anytime = _numbers(checkpoint.get("anytime_classification") or [])
    points = checkpoint.get("budgeted_batch_classification") or ([], [])
    costs, accuracy = (_numbers(each) for each in points)
    if len(costs) != len(rows):
        costs, accuracy = [], []
    evaluation = Curve(anytime, accuracy, costs) if anytime or costs else None
    return Calibration(flops, rows, evaluation=evaluation)


def _numbers(values: Any) -> list[float]:
    return [float(value) for value in values]


def from_official(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Turn an official ``.pth.tar`` into a checkpoint of ours.

    Args:
        checkpoint (Mapping): Content of the official file.

    Returns:
        dict: ``state_dict``, and the calibration if the file has FLOPs.
    """
    ours = {"state_dict": convert("dvt", unwrap(checkpoint))}
    if "flops" in checkpoint:
        ours[KEY] = official_calibration(checkpoint).to_dict()
    return ours


def to_official(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Turn a calibrated checkpoint of ours into the official layout.

    Args:
        checkpoint (Mapping): Content of our file.

    Returns:
        dict: ``model_state_dict`` and the four official entries. The curve is that of
        the last evaluation, or where there is none of the calibration.

    Raises:
        CalibrationError: If there is no calibration, or one that the official code would
            not understand.
    """
    calibration = read_calibration(checkpoint)
    if calibration.policy != "max_softmax" or set(calibration.temperatures) != {1.0}:
        raise CalibrationError(
            "the official layout knows only thresholds of the largest probability, without "
            "temperature: calibrate without --policy and --temperature"
        )
    curve = calibration.evaluation or calibration.calibration
    return {
        "model_state_dict": revert("dvt", unwrap(checkpoint)),
        "flops": calibration.flops,
        "anytime_classification": [] if curve is None else curve.anytime,
        "dynamic_threshold": torch.tensor(calibration.thresholds),
        "budgeted_batch_classification": [[], []]
        if curve is None
        else [curve.flops, curve.accuracy],
    }
