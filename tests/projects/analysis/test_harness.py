"""Timing harness: order of the calls and which of them are timed."""

import subprocess
import sys

import pytest

from smallvit.analysis import harness
from smallvit.analysis.harness import Timing, ratios, time_interleaved, timed


class Clock:
    """A clock that advances by the duration of each call."""

    def __init__(self, monkeypatch, **seconds):
        self.now, self.seconds, self.log = 0.0, seconds, []
        monkeypatch.setattr(harness.time, "perf_counter", lambda: self.now)
        monkeypatch.setattr(harness, "_processor_seconds", lambda: self.now / 2)

    def calls(self):
        return {name: lambda name=name: self.call(name) for name in self.seconds}

    def call(self, name):
        self.log.append(name)
        self.now += self.seconds[name]


def test_turns_alternate_and_skipped_calls_are_not_timed(monkeypatch):
    clock = Clock(monkeypatch, a=1.0, b=3.0)
    rounds = time_interleaved(clock.calls(), 3, warm_up=1, skip=1, count=2)
    assert "".join(clock.log) == "ab" + "aaabbb" + "bbbaaa" + "aaabbb"
    assert rounds == [{"a": Timing(1.0, 0.5), "b": Timing(3.0, 1.5)}] * 3
    assert ratios(rounds, "b", "a") == [3.0] * 3


def test_short_calls_are_repeated_until_a_turn_is_long_enough(monkeypatch):
    clock = Clock(monkeypatch, a=0.1, b=3.0)
    time_interleaved(clock.calls(), 1, seconds=0.5)
    assert "".join(clock.log) == "ab" + "aaaaa" + "b"


@pytest.mark.skipif(
    sys.platform == "win32", reason="Windows does not report the time of ended children"
)
def test_processor_time_of_children_counts():
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    found = timed(lambda: subprocess.run([sys.executable, "-c", busy], check=True))
    assert found.cpu > 0.25
