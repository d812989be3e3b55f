import os
import signal
import time
from functools import partial

from forked import Forked
from smallvit.cli import run_tool
from tool_helpers import load_tool, run_main

TOOL = load_tool("dataset_converters/digit_scenes.py")


def test_writes_then_refuses(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    options = ("out", "--num-train", 2, "--num-val", 1, "--size", 64, "--digits-per-scene", 1, 2)
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert run_main(TOOL.main, *options) == 0
        assert "2 training and 1 validation scenes are in out" in capsys.readouterr().out
        assert len(list((tmp_path / "out").rglob("*.png"))) == 6
        assert run_main(TOOL.main, *options) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    message = capsys.readouterr().err
    assert "out already contains digit scenes" in message
    assert "--overwrite" in message


def test_terminated_half_way_leaves_nothing(tmp_path):
    (tmp_path / "work").mkdir()
    options = (tmp_path / "work/out", "--num-train", 100000)
    process = Forked(partial(run_tool, TOOL.main, [*map(str, options)]), tmp_path)
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("*.png")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "nothing was written" in said
    assert list((tmp_path / "work").iterdir()) == []
