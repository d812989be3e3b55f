"""Validation and encoding of stored calibrations."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from smallvit.errors import CalibrationError
from smallvit.plugins.multi_exit.policies import policy_name
from smallvit.utils.json_files import brief

#: Upper limits, larger than those of any sweep.
MAX_ROWS, MAX_EXITS, MAX_BYTES = 100_000, 1000, 1 << 26
#: Larger than any cost, threshold or accuracy; an integer of 400 digits does not fit a float.
LARGEST = 1e100
#: Key that torch uses for ``get_extra_state`` in a state dict.
EXTRA_STATE = "_extra_state"
KEYS = ("flops", "thresholds", "calibration", "evaluation", "policy", "temperatures")
CURVE_KEYS = ("anytime", "accuracy", "flops", "num_images")


def check_stored(stored: Any) -> dict[str, Any]:
    """Validate the entries of a stored calibration.

    Args:
        stored (Any): The documented layout, without ``version``.

    Returns:
        dict: Arguments of :class:`Calibration`, with curves as dicts.

    Raises:
        CalibrationError: If an entry is missing, unknown or invalid.
    """
    _check_keys(stored, KEYS, ("flops", "thresholds"), "the calibration")
    flops = _numbers(stored["flops"], "flops", MAX_EXITS)
    found = {"flops": flops, "thresholds": _rows(stored["thresholds"], len(flops))}
    if any(value <= 0 for value in flops):
        raise _wrong("flops", flops, "positive numbers")
    if "policy" in stored:
        found["policy"] = policy_name(stored["policy"])
    if stored.get("temperatures") is not None:
        temperatures = _numbers(stored["temperatures"], "temperatures", len(flops))
        if len(temperatures) != len(flops) or min(temperatures) <= 0:
            raise _wrong("temperatures", temperatures, f"{len(flops)} positive numbers")
        found["temperatures"] = temperatures
    for key in ("calibration", "evaluation"):
        if stored.get(key) is not None:
            found[key] = _curve(stored[key], key, len(flops), len(found["thresholds"]))
    return found


def _check_keys(stored: Any, known: tuple, needed: tuple, what: str) -> None:
    if not isinstance(stored, Mapping):
        raise CalibrationError(
            f"expected {what} to be a dict, got {type(stored).__name__}. Calibrate again"
        )
    missing = [key for key in needed if key not in stored]
    if missing:
        raise CalibrationError(f"{what} lacks {', '.join(missing)}. Calibrate again")
    unknown = [brief(key)[:40] for key in stored if key not in known]
    if unknown:
        raise CalibrationError(f"{what} has unknown entries: {', '.join(unknown[:4])}")


def _numbers(values: Any, name: str, most: int) -> list[float]:
    if isinstance(values, Tensor) and values.dim() == 1:
        values = values.tolist()
    if not isinstance(values, (list, tuple)) or len(values) > most:
        raise _wrong(name, values, f"a list of at most {most} numbers")
    if not all(_is_number(value) for value in values):
        raise _wrong(name, values, "finite numbers")
    return [float(value) for value in values]


def _is_number(value: Any) -> bool:
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    return abs(value) <= LARGEST and math.isfinite(value)


def _rows(values: Any, num_exits: int) -> list[list[float]]:
    if isinstance(values, Tensor):
        values = values.tolist()
    if not isinstance(values, (list, tuple)) or len(values) > MAX_ROWS:
        raise _wrong("thresholds", values, f"a list of at most {MAX_ROWS} rows")
    rows = [_numbers(row, "thresholds", MAX_EXITS) for row in values]
    wrong = next((row for row in rows if len(row) != num_exits), None)
    if wrong is not None:
        raise CalibrationError(
            f"expected thresholds for {num_exits} exits as in flops, got {brief(wrong)}"
        )
    return rows


def _curve(stored: Any, name: str, num_exits: int, num_rows: int) -> dict[str, Any]:
    _check_keys(stored, CURVE_KEYS, ("anytime", "accuracy", "flops"), f"the calibration's {name}")
    anytime = _numbers(stored["anytime"], f"{name}.anytime", num_exits)
    points = {
        key: _numbers(stored[key], f"{name}.{key}", num_rows) for key in ("accuracy", "flops")
    }
    # Official files may lack the curve, or the accuracy of the exits.
    if len(anytime) not in (0, num_exits) or any(
        len(values) not in (0, num_rows) for values in points.values()
    ):
        raise CalibrationError(
            f"expected {num_exits} exits and {num_rows} points in the calibration's {name}, got "
            f"{len(anytime)} exits and "
            f"{' and '.join(str(len(values)) for values in points.values())} points. Calibrate "
            "again"
        )
    count = stored.get("num_images", 0)
    if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count < 1 << 63:
        raise _wrong(f"{name}.num_images", count, "a number of images")
    return {"anytime": anytime, **points, "num_images": count}


def _wrong(name: str, value: Any, wanted: str) -> CalibrationError:
    return CalibrationError(
        f"expected the calibration's {name} to be {wanted}, got {brief(value)}. Calibrate again"
    )


def to_tensor(layout: dict[str, Any] | None) -> Tensor:
    """Encode a calibration as a tensor, which every checkpoint format can store.

    Args:
        layout (dict | None): Calibration in the documented layout.

    Returns:
        Tensor: uint8 (N, ), the layout as JSON; empty for None.
    """
    text = "" if layout is None else json.dumps(layout, allow_nan=False)
    return torch.tensor(list(text.encode()), dtype=torch.uint8)


def from_tensor(tensor: Any) -> Any:
    """Decode a calibration that :func:`to_tensor` encoded, without validating its values.

    Args:
        tensor (Any): Entry of a state dict.

    Returns:
        Any: The decoded JSON value, None if the tensor is empty.

    Raises:
        CalibrationError: If the entry is not a uint8 tensor of valid JSON.
    """
    good = isinstance(tensor, Tensor) and tensor.dtype == torch.uint8 and tensor.dim() == 1
    if not good or len(tensor) > MAX_BYTES:
        raise CalibrationError(
            "the calibration in the weights (_extra_state) is not encoded text. Calibrate again"
        )
    if len(tensor) == 0:
        return None
    try:
        return json.loads(bytes(tensor.cpu().numpy()).decode())
    except (ValueError, RecursionError) as error:
        raise CalibrationError(
            f"the calibration in the weights (_extra_state) is damaged ({error}). Calibrate again"
        ) from error
