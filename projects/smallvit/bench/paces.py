"""How a pretraining and the training behind it divide what a run without one costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from smallvit.bench.methods import Method
from smallvit.bench.settings import Pace, Run, Speed
from smallvit.errors import UserError


def before_of(name: str) -> str:
    """Name the pretraining of a method.

    Args:
        name (str): The method.

    Returns:
        str: For lists and messages.
    """
    return f"{name}, pretraining"


def as_speeds(paces: Mapping[str, Pace]) -> dict[str, Speed]:
    """Take pretrainings for trainings without validation and test.

    Args:
        paces (Mapping[str, Pace]): By method.

    Returns:
        dict[str, Speed]: By the name of the pretraining.
    """
    return {before_of(name): Speed(each.setup, each.step, 0, 0) for name, each in paces.items()}


def divide(share: float, steps: int, pace: Pace) -> tuple[int, int]:
    """Divide the steps of a run.

    Args:
        share (float): The pretraining's part of the time.
        steps (int): Of a run without pretraining.
        pace (Pace): How long steps take.

    Returns:
        tuple[int, int]: Steps of a pretraining and of the training behind it, which together
        take as long.
    """
    saved = min(steps - 1, round(share * steps))
    return max(1, round(saved * pace.training / pace.step)), steps - saved


def find_paces(
    methods: Sequence[Method],
    known: Mapping[str, Any],
    run: Callable[[str], Run],
    measure: Callable[[Run], dict[str, float]],
) -> dict[str, dict[str, float]]:
    """See whether methods can begin as they say, and how long steps of pretrainings take.

    Args:
        methods (Sequence[Method]): What to compare.
        known (Mapping[str, Any]): What was measured before, by method.
        run (Callable): Takes a method's name and returns a run of it.
        measure (Callable): Measures it in a process of its own.

    Returns:
        dict[str, dict[str, float]]: Fields of :class:`smallvit.bench.settings.Pace` of each
        method with a pretraining.

    Raises:
        UserError: If one cannot; the message names it.
    """
    wanted = [
        method.name
        for method in methods
        if method.name not in known and (method.pretraining or method.initialization)
    ]
    if wanted:
        print(f"trying how {len(wanted)} methods begin", flush=True)
    found = dict(known)
    for name in wanted:
        try:
            pace = measure(run(name))
        except UserError as error:
            raise UserError(f"--methods {name}: {error}") from error
        if pace:
            found[name] = pace
    return found
