"""Reader of the scalars that MMEngine logs, for any task and loop."""

from __future__ import annotations

import json
import os.path as osp
import re
from dataclasses import dataclass, field
from glob import escape, glob
from typing import Any

from smallvit.errors import UserError
from smallvit.utils.json_files import brief

#: Keys that describe the position of a record in the run.
PLACE_KEYS = ("iter", "epoch", "step")
#: Timings are logged in training and validation; curves show those of training.
SHARED_KEYS = ("time", "data_time", "memory")
#: Average precision and recall, which pycocotools reports as -1 if there are no such objects.
PRECISION = re.compile(r"(^|[/_])(m?AP|AR)([_@]|$)")


@dataclass
class ScalarCurve:
    """Values of one logged key over the iterations of a run.

    Args:
        validation (bool): Whether the values were logged in validation instead of training.
        iterations (list[int]): Iteration of each value.
        values (list[float]): Logged values; empty if all of them are undefined.
    """

    validation: bool
    iterations: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)

    def averaged(self, window: int) -> tuple[list[int], list[float]]:
        """Smooth the values with a moving average over preceding ones.

        Args:
            window (int): Number of values; fewer at the beginning.

        Returns:
            tuple[list[int], list[float]]: Iterations and averages.
        """
        averages = []
        for end in range(1, len(self.values) + 1):
            part = self.values[max(0, end - window) : end]
            averages.append(sum(part) / len(part))
        return self.iterations, averages

    def cut(self, iteration: int) -> None:
        """Discard values from an iteration on, which a resumed run repeats.

        Args:
            iteration (int): First iteration to discard.
        """
        kept = sum(each < iteration for each in self.iterations)
        del self.iterations[kept:], self.values[kept:]


def read_run(path: str) -> dict[str, ScalarCurve]:
    """Read the curves of a run.

    Args:
        path (str): A ``scalars.json``, or the ``work_dir`` of a run; later files in it belong to
            resumed sessions. Runs in its subfolders, such as a pretraining, are not read.

    Returns:
        dict[str, ScalarCurve]: Curves by key.

    Raises:
        UserError: If there are no scalars to read.
    """
    curves: dict[str, ScalarCurve] = {}
    for file in _files(path):
        _append(curves, _records(file))
    return curves


def _files(path: str) -> list[str]:
    if osp.isfile(path):
        return [path]
    if not osp.isdir(path):
        raise UserError(f"no such run: {path}")
    # Not recursive: deeper folders are other runs, such as the pretraining of a bench run.
    patterns = ("scalars.json", "vis_data/scalars.json", "*/vis_data/scalars.json")
    files = [
        file
        for pattern in patterns
        for file in sorted(glob(osp.join(escape(path), pattern)))  # named by creation time
    ]
    if not files:
        raise UserError(
            f"{path} contains no scalars.json, which training writes to vis_data/; give the "
            "work_dir of one run"
        )
    return files


def _records(path: str) -> list[dict]:
    records = []
    with open(path, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line)
            except (ValueError, RecursionError) as error:
                # The last line is incomplete if the run was killed.
                if not line.endswith("\n"):
                    break
                raise UserError(
                    f"{path}, line {number}: expected a JSON object of scalars ({error})"
                ) from error
            if isinstance(record, dict):
                records.append(record)
                for key in ("iter", "step"):
                    if not _is_number(record.get(key, 0)):
                        raise UserError(
                            f"{path}, line {number}: expected {key} to be a number, got "
                            f"{brief(record[key])}"
                        )
    return records


def _is_number(value: Any) -> bool:
    """Whether a value can be plotted; JSON integers may be arbitrarily large."""
    return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 1000)


def _append(curves: dict[str, ScalarCurve], records: list[dict]) -> None:
    """Add the records of one log; validation uses the iteration of the preceding training step.

    The step in validation records is an epoch in some loops and an iteration in others.
    """
    first = next((record["iter"] for record in records if "iter" in record), None)
    if first is not None:
        for curve in curves.values():
            curve.cut(first)
    iteration = None
    for record in records:
        validation = "iter" not in record
        iteration = record.get("iter", iteration)
        place = record.get("step", 0) if iteration is None else iteration
        for key, value in record.items():
            skipped = key in PLACE_KEYS or (validation and key in SHARED_KEYS)
            if not skipped and _is_number(value):
                curve = curves.setdefault(key, ScalarCurve(validation))
                if value == -1 and PRECISION.search(key):
                    continue
                curve.iterations.append(place)
                curve.values.append(value)
