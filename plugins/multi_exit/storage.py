"""Calibrations in checkpoints: our layout, and that of the official ``.pth.tar`` files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log

from smallvit.converters import convert, revert, unwrap
from smallvit.engine.checkpoint import formats
from smallvit.engine.checkpoint.reading import load_from_local
from smallvit.plugins.multi_exit.calibration import KEY, VERSION, Calibration, CalibrationError
from smallvit.plugins.multi_exit.stored import EXTRA_STATE, from_tensor, to_tensor

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
    """Write a checkpoint, whole.

    Args:
        checkpoint (Mapping): What to write.
        path (str | Path): The file.
    """
    formats.write_checkpoint(path, checkpoint)


def has_calibration(checkpoint: Mapping[str, Any]) -> bool:
    """Tell whether a checkpoint says what its exits cost, in our layout or the official one.

    Args:
        checkpoint (Mapping): Content of the file.

    Returns:
        bool: Whether :func:`read_calibration` has something to read.
    """
    return KEY in checkpoint or "flops" in checkpoint


def decode_calibration(entry: Any) -> Calibration | None:
    """Read the calibration that is among the weights.

    Args:
        entry (Any): The entry ``_extra_state`` of a state dict.

    Returns:
        Calibration | None: None where the entry is empty.

    Raises:
        CalibrationError: If it is malformed.
    """
    layout = from_tensor(entry)
    return None if layout is None else Calibration.from_dict(layout)


def readable(read: Callable[[], Calibration | None]) -> Calibration | None:
    """Read a calibration that weights can do without, and say so where it is damaged.

    What needs it says then that there is none; all else goes on.

    Args:
        read (Callable): Reads it, or raises :class:`CalibrationError`.

    Returns:
        Calibration | None: The calibration; None if it is damaged.
    """
    try:
        return read()
    except CalibrationError as error:
        print_log(
            f"{error}; the weights are loaded without it, and cannot answer early",
            logger="current",
            level=30,
        )
    return None


def check_same(among: Calibration | None, beside: Calibration) -> None:
    """Check that a checkpoint does not say two things.

    Args:
        among (Calibration | None): The calibration among its weights, if there is one.
        beside (Calibration): The calibration beside them.

    Raises:
        CalibrationError: If they differ.
    """
    if among is not None and among != beside:
        raise CalibrationError(
            f"the checkpoint has one calibration under {KEY!r} and another in its weights "
            f"({EXTRA_STATE}): calibrate it again, or remove one of them"
        )


def with_calibration(checkpoint: Mapping[str, Any], calibration: Calibration) -> dict[str, Any]:
    """Add a calibration to a checkpoint of ours, beside its weights and among them.

    Args:
        checkpoint (Mapping): Content of the file, or the bare weights; it is not changed.
        calibration (Calibration): What to add.

    Returns:
        dict: The new content.
    """
    content = dict(checkpoint) if "state_dict" in checkpoint else {"state_dict": checkpoint}
    layout = calibration.to_dict()
    weights = content["state_dict"].copy()
    weights[EXTRA_STATE] = to_tensor(layout)
    return {**content, "state_dict": weights, KEY: layout}


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
    try:
        flops, anytime, rows, points = (_listed(checkpoint.get(key)) for key in OFFICIAL_KEYS)
    except RecursionError:
        flops, anytime, rows, points = [[], [], [], None]
    for name, values in zip(OFFICIAL_KEYS, (flops, anytime, rows, points), strict=True):
        if not isinstance(values, list):
            raise CalibrationError(f"{name} of the checkpoint is no list of numbers, or damaged")
    if points and (len(points) != 2 or not all(isinstance(row, list) for row in points)):
        raise CalibrationError(
            f"budgeted_batch_classification has {len(points)} rows, not one of costs and one of "
            "accuracies"
        )
    costs, accuracy = points or ([], [])
    if len(costs) != len(rows):
        costs, accuracy = [], []
    curve = {"anytime": anytime, "accuracy": accuracy, "flops": costs}
    return Calibration.from_dict(
        {
            "version": VERSION,
            "flops": flops,
            "thresholds": rows,
            "evaluation": curve if anytime or costs else None,
        }
    )


def _listed(values: Any) -> list:
    """Lists of numbers, whether they are lists, arrays or tensors, of tensors or of numbers."""
    if values is None:
        return []
    values = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(values, (list, tuple)):
        return [_listed(each) for each in values]
    return values


def from_official(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Turn an official ``.pth.tar`` into a checkpoint of ours.

    Args:
        checkpoint (Mapping): Content of the official file.

    Returns:
        dict: ``state_dict``, and the calibration if the file has FLOPs.
    """
    ours = {"state_dict": convert("dvt", unwrap(checkpoint))}
    if "flops" in checkpoint:
        return with_calibration(ours, official_calibration(checkpoint))
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
