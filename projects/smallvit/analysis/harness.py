"""Alternating timing of several functions in one process.

The speed of a machine drifts. Functions that are timed alternately drift together, so that ratios
are reliable where single times are not. Every timing in this project is done this way.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch


class Timing(NamedTuple):
    """Duration of a call in seconds.

    Args:
        wall (float): By the clock.
        cpu (float): Of processor time, of this process and of its children that have ended;
            other programs on the machine disturb it less.
    """

    wall: float
    cpu: float


Call = Callable[[], Any]
#: For each round, the timings of the calls by name.
Rounds = list[dict[str, Timing]]


def synchronize(device: str) -> None:
    """Synchronize with a device.

    Args:
        device (str): A CUDA device; others do it at once.
    """
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def timed(call: Call, count: int = 1, device: str = "cpu") -> Timing:
    """Time a function.

    Args:
        call (Callable): What to time.
        count (int): How often it is called. Defaults to 1.
        device (str): Where it runs. Defaults to "cpu".

    Returns:
        Timing: The mean of a call.
    """
    synchronize(device)
    began = time.perf_counter(), _processor_seconds()
    for _ in range(count):
        call()
    synchronize(device)
    wall, cpu = time.perf_counter() - began[0], _processor_seconds() - began[1]
    return Timing(wall / count, cpu / count)


def in_turns(
    calls: Mapping[str, Call],
    rounds: int,
    *,
    warm_up: int = 0,
    skip: int = 0,
    count: int = 1,
    seconds: float = 0.0,
    device: str = "cpu",
) -> Rounds:
    """Time several functions alternately; every other round runs them in reverse order.

    Args:
        calls (Mapping[str, Callable]): What to time, by name.
        rounds (int): How often each has its turn.
        warm_up (int): Calls of each before the first round. Defaults to 0.
        skip (int): Calls in a turn before those that are timed. Defaults to 0.
        count (int): Calls that are timed in a turn. Defaults to 1.
        seconds (float): Shortest time of a turn: for it ``count`` is raised, by one more call
            of each before the first round. Defaults to 0.0.
        device (str): Where they run. Defaults to "cpu".

    Returns:
        list[dict[str, Timing]]: For each round the mean of a call.
    """
    counts = dict.fromkeys(calls, count)
    for name, call in calls.items():
        for _ in range(warm_up):
            call()
        if seconds:
            counts[name] = max(count, round(seconds / timed(call, 1, device).wall))
    found = []
    for number in range(rounds):
        turn = {}
        for name in list(calls)[:: -1 if number % 2 else 1]:
            for _ in range(skip):
                calls[name]()
            turn[name] = timed(calls[name], counts[name], device)
        found.append(turn)
    return found


def ratios(rounds: Sequence[Mapping[str, Timing]], name: str, base: str) -> list[float]:
    """Wall-clock time of one function relative to another, per round.

    Args:
        rounds (Sequence[Mapping[str, Timing]]): As :func:`in_turns` gives them.
        name (str): The one.
        base (str): The other.

    Returns:
        list[float]: Ratios.
    """
    return [each[name].wall / each[base].wall for each in rounds]


def _processor_seconds() -> float:
    ended = os.times()
    return time.process_time() + ended.children_user + ended.children_system
