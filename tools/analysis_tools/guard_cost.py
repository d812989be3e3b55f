"""What the guards cost: the same training with and without them, step by step in turns."""

from __future__ import annotations

import statistics
import tempfile
from typing import Any

from mmengine.config import Config

from smallvit.analysis.training_steps import take_turns, training_steps
from smallvit.engine.guards import add_guards

#: Steps of each training that warm it up.
WARM_UP = 3


def guard_cost(cfg: Config, steps: int) -> dict[str, Any]:
    """Measure how much longer a training step takes with all guards.

    A step is what a run does in an iteration: loading the batch, the training step and
    all hooks. The two trainings take turns, and the order within a turn alternates.

    Args:
        cfg (Config): A config with its data.
        steps (int): Steps of each training.

    Returns:
        dict: ``steps``; for wall time (``wall``) and the process's CPU time (``cpu``), which
        other programs on the machine disturb less: median seconds of a step ``with`` and
        ``without`` guards, and ``cost``, the median over the turns of the part by which
        the guards prolong a step.
    """
    with tempfile.TemporaryDirectory() as folder:
        trainings = {
            name: training_steps(cfg, f"{folder}/{name}", prepare)
            for name, prepare in (("without", None), ("with", add_guards))
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
