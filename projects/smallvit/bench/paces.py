"""Division of a run's budget between pretraining and training."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smallvit.bench.methods import Method
from smallvit.bench.settings import Pace, Run, Speed
from smallvit.errors import UserError


def before_of(name: str) -> str:
    """Get the display name of a method's pretraining.

    Args:
        name (str): Name of the method.

    Returns:
        str: Name for lists and messages.
    """
    return f"{name}, pretraining"


def as_speeds(paces: Mapping[str, Pace]) -> dict[str, Speed]:
    """Convert paces of pretrainings to speeds of runs without validation and test.

    Args:
        paces (Mapping[str, Pace]): Paces by method.

    Returns:
        dict[str, Speed]: Speeds by the name of the pretraining.
    """
    return {before_of(name): Speed(each.setup, each.step, 0, 0) for name, each in paces.items()}


def divide(share: float, steps: int, pace: Pace) -> tuple[int, int]:
    """Divide the steps of a run between pretraining and training.

    Args:
        share (float): Fraction of the time for the pretraining.
        steps (int): Steps of a run without pretraining.
        pace (Pace): Measured durations of the steps.

    Returns:
        tuple[int, int]: Steps of the pretraining and of the training after it, which together
        take as long as ``steps`` training steps.
    """
    saved = min(steps - 1, round(share * steps))
    return max(1, round(saved * pace.training / pace.step)), steps - saved


def find_paces(
    methods: Sequence[Method],
    known: Mapping[str, Any],
    run: Callable[[str], Run],
    measure: Callable[[Run], dict[str, float]],
) -> dict[str, dict[str, float]]:
    """Check that methods can be initialized, and measure the steps of their pretrainings.

    Args:
        methods (Sequence[Method]): Methods to compare.
        known (Mapping[str, Any]): Earlier measurements, by method.
        run (Callable): Function that returns a run for the name of a method.
        measure (Callable): Function that measures a run in a separate process.

    Returns:
        dict[str, dict[str, float]]: Fields of :class:`smallvit.bench.settings.Pace` of each
        method with a pretraining.

    Raises:
        UserError: If a method cannot be initialized or pretrained; the message names it.
    """
    wanted = [
        method.name
        for method in methods
        if method.name not in known and (method.pretraining or method.initialization)
    ]
    if wanted:
        print(f"testing the initialization of {len(wanted)} methods", flush=True)
    found = dict(known)
    for name in wanted:
        try:
            pace = measure(run(name))
        except UserError as error:
            raise UserError(f"--methods {name}: {error}") from error
        if pace:
            found[name] = pace
    return found
