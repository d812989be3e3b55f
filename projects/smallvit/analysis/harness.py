"""Alternating timing of several functions in one process.

The speed of a machine varies over time. Alternating calls are affected equally, so ratios are
reliable even if absolute times are not. All timings in this project use this module.
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
        wall (float): Wall-clock time.
        cpu (float): CPU time of this process and its finished children, which is less affected by
            other programs.
    """

    wall: float
    cpu: float


Call = Callable[[], Any]
#: Timings by name, for each round.
Rounds = list[dict[str, Timing]]


def synchronize(device: str) -> None:
    """Wait until a device has finished.

    Args:
        device (str): Device to wait for; devices other than CUDA are synchronous.
    """
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def timed(call: Call, count: int = 1, device: str = "cpu") -> Timing:
    """Time a function.

    Args:
        call (Callable): Function to time.
        count (int): Number of calls. Defaults to 1.
        device (str): Device that the function uses. Defaults to "cpu".

    Returns:
        Timing: Mean duration of a call.
    """
    synchronize(device)
    began = time.perf_counter(), _processor_seconds()
    for _ in range(count):
        call()
    synchronize(device)
    wall, cpu = time.perf_counter() - began[0], _processor_seconds() - began[1]
    return Timing(wall / count, cpu / count)


def time_interleaved(
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
        calls (Mapping[str, Callable]): Functions by name.
        rounds (int): Number of measurements of each function.
        warm_up (int): Calls of each function before the first round. Defaults to 0.
        skip (int): Untimed calls at the start of each measurement. Defaults to 0.
        count (int): Timed calls per measurement. Defaults to 1.
        seconds (float): Minimum duration of a measurement; ``count`` is increased accordingly,
            after one more call of each function before the first round. Defaults to 0.0.
        device (str): Device that the functions use. Defaults to "cpu".

    Returns:
        list[dict[str, Timing]]: Mean duration of a call of each function, for each round.
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
        rounds (Sequence[Mapping[str, Timing]]): Result of :func:`time_interleaved`.
        name (str): Function in the numerator.
        base (str): Function in the denominator.

    Returns:
        list[float]: Ratio of each round.
    """
    return [each[name].wall / each[base].wall for each in rounds]


def _processor_seconds() -> float:
    ended = os.times()
    return time.process_time() + ended.children_user + ended.children_system
