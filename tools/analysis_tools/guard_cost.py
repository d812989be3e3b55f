"""Overhead of the training guards, measured with alternating steps."""

from __future__ import annotations

import statistics
import tempfile
from typing import Any

from mmengine.config import Config

from smallvit.analysis.training_steps import take_turns, training_steps
from smallvit.engine.guards import add_guards

#: Warm-up steps of each run.
WARM_UP = 3


def guard_cost(cfg: Config, steps: int) -> dict[str, Any]:
    """Measure the relative overhead of all guards per training step.

    A step includes data loading, the training step and all hooks. The runs with and without
    guards alternate, and so does their order.

    Args:
        cfg (Config): Training config with existing data.
        steps (int): Number of steps of each run.

    Returns:
        dict: ``steps``; for wall time (``wall``) and the CPU time of the process (``cpu``), which
        is less affected by other programs: median seconds per step ``with`` and ``without``
        guards, and ``cost``, the median relative overhead over all turns.
    """
    with tempfile.TemporaryDirectory() as folder:
        trainings = {
            name: training_steps(cfg, f"{folder}/{name}", config_modifier)
            for name, config_modifier in (("without", None), ("with", add_guards))
        }
        for _ in range(WARM_UP):
            for training in trainings.values():
                next(training)
        turns = take_turns(trainings, steps)
    return {"steps": steps, "wall": _summary(turns, 0), "cpu": _summary(turns, 1)}


def _summary(turns: list[dict[str, tuple[float, float]]], clock: int) -> dict[str, float]:
    return {
        "with": statistics.median(turn["with"][clock] for turn in turns),
        "without": statistics.median(turn["without"][clock] for turn in turns),
        "cost": statistics.median(
            turn["with"][clock] / turn["without"][clock] - 1 for turn in turns
        ),
    }
