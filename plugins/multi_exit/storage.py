"""Read and write calibrations in checkpoints, in our layout and the official ``.pth.tar`` one."""

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

#: Keys of official files in addition to ``model_state_dict``.
OFFICIAL_KEYS = (
    "flops",
    "anytime_classification",
    "dynamic_threshold",
    "budgeted_batch_classification",
)


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Load a checkpoint file, restricted to tensors and plain values.

    Args:
        path (str | Path): Path of the checkpoint.

    Returns:
        dict: Content of the checkpoint.
    """
    return load_from_local(path, map_location="cpu")


def write_checkpoint(checkpoint: Mapping[str, Any], path: str | Path) -> None:
    """Write a checkpoint atomically.

    Args:
        checkpoint (Mapping): Tensors and plain values.
        path (str | Path): Path to write.
    """
    formats.write_checkpoint(path, checkpoint)


def has_calibration(checkpoint: Mapping[str, Any]) -> bool:
    """Check whether a checkpoint has a calibration, in our layout or the official one.

    Args:
        checkpoint (Mapping): Content of the file.

    Returns:
        bool: Whether :func:`read_calibration` can find a calibration.
    """
    return KEY in checkpoint or "flops" in checkpoint


def decode_calibration(entry: Any) -> Calibration | None:
    """Decode the calibration in a state dict.

    Args:
        entry (Any): Entry ``_extra_state`` of the state dict.

    Returns:
        Calibration | None: The calibration; None if the entry is empty.

    Raises:
        CalibrationError: If the entry is malformed.
    """
    layout = from_tensor(entry)
    return None if layout is None else Calibration.from_dict(layout)


def readable(read: Callable[[], Calibration | None]) -> Calibration | None:
    """Read a calibration, and log a warning instead of failing if it is damaged.

    The weights are usable without a calibration; only budgeted inference fails later.

    Args:
        read (Callable): Function that returns the calibration or raises
            :class:`CalibrationError`.

    Returns:
        Calibration | None: The calibration; None if it is damaged.
    """
    try:
        return read()
    except CalibrationError as error:
        print_log(
            f"{error}; the weights are loaded without it, so early exits are not available",
            logger="current",
            level=30,
        )
    return None


def check_same(among: Calibration | None, beside: Calibration) -> None:
    """Check that a checkpoint does not contain two different calibrations.

    Args:
        among (Calibration | None): Calibration in the state dict, if there is one.
        beside (Calibration): Calibration outside the state dict.

    Raises:
        CalibrationError: If they differ.
    """
    if among is not None and among != beside:
        raise CalibrationError(
            f"the checkpoint has different calibrations under {KEY!r} and in its weights "
            f"({EXTRA_STATE}). Calibrate it again, or remove one of them"
        )


def with_calibration(checkpoint: Mapping[str, Any], calibration: Calibration) -> dict[str, Any]:
    """Add a calibration to a checkpoint in our layout, in the state dict and under its own key.

    Args:
        checkpoint (Mapping): Content of the file, or a state dict; it is not changed.
        calibration (Calibration): Calibration to add.

    Returns:
        dict: The checkpoint with the calibration.
    """
    content = dict(checkpoint) if "state_dict" in checkpoint else {"state_dict": checkpoint}
    layout = calibration.to_dict()
    weights = content["state_dict"].copy()
    weights[EXTRA_STATE] = to_tensor(layout)
    return {**content, "state_dict": weights, KEY: layout}


def read_calibration(checkpoint: Mapping[str, Any], source: str = "the checkpoint") -> Calibration:
    """Read the calibration of a loaded checkpoint, in our layout or the official one.

    Args:
        checkpoint (Mapping): Content of the file.
        source (str): Name of the file, for errors. Defaults to "the checkpoint".

    Returns:
        Calibration: Thresholds, and their results if stored.

    Raises:
        CalibrationError: If the checkpoint has no calibration.
    """
    if KEY in checkpoint:
        return Calibration.from_dict(checkpoint[KEY])
    if "flops" in checkpoint:
        return official_calibration(checkpoint)
    raise CalibrationError(
        f"{source} has neither FLOPs of exits nor thresholds (neither {KEY!r} nor the official "
        f"{', '.join(map(repr, OFFICIAL_KEYS))}). Run tools/multi_exit/calibrate.py"
    )


def official_calibration(checkpoint: Mapping[str, Any]) -> Calibration:
    """Read the calibration of an official checkpoint.

    Args:
        checkpoint (Mapping): ``flops``, and any of ``anytime_classification``,
            ``dynamic_threshold`` and ``budgeted_batch_classification``.

    Returns:
        Calibration: Thresholds, with the published curve as ``evaluation``.
    """
    try:
        flops, anytime, rows, points = (_listed(checkpoint.get(key)) for key in OFFICIAL_KEYS)
    except RecursionError:
        flops, anytime, rows, points = [[], [], [], None]
    for name, values in zip(OFFICIAL_KEYS, (flops, anytime, rows, points), strict=True):
        if not isinstance(values, list):
            raise CalibrationError(f"{name} of the checkpoint is not a list of numbers, or damaged")
    if points and (len(points) != 2 or not all(isinstance(row, list) for row in points)):
        raise CalibrationError(
            f"expected two rows in budgeted_batch_classification, costs and accuracies, got "
            f"{len(points)}"
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
    """Convert nested lists, arrays or tensors to nested lists of numbers."""
    if values is None:
        return []
    values = values.tolist() if hasattr(values, "tolist") else values
    if isinstance(values, (list, tuple)):
        return [_listed(each) for each in values]
    return values


def from_official(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Convert an official ``.pth.tar`` checkpoint to our layout.

    Args:
        checkpoint (Mapping): Content of the official file.

    Returns:
        dict: ``state_dict``, and the calibration if the file has ``flops``.
    """
    ours = {"state_dict": convert("dvt", unwrap(checkpoint))}
    if "flops" in checkpoint:
        return with_calibration(ours, official_calibration(checkpoint))
    return ours


def to_official(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Convert a calibrated checkpoint to the official layout.

    Args:
        checkpoint (Mapping): Content of a file in our layout.

    Returns:
        dict: ``model_state_dict`` and the four official entries. The curve is that of
        the last evaluation or, without one, that of the calibration.

    Raises:
        CalibrationError: If there is no calibration, or the official layout cannot represent it.
    """
    calibration = read_calibration(checkpoint)
    if calibration.policy != "max_softmax" or set(calibration.temperatures) != {1.0}:
        raise CalibrationError(
            "the official layout supports only thresholds of the largest probability, without "
            "temperature. Calibrate without --policy and --temperature"
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
