import os
import signal
import subprocess
import sys
import time
from pathlib import Path

TOOL = Path(__file__).parents[2] / "tools" / "dataset_converters" / "digit_scenes.py"


def start(*options, cwd):
    command = [sys.executable, str(TOOL), *map(str, options)]
    return subprocess.Popen(
        command, cwd=cwd, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_writes_then_refuses(tmp_path):
    options = ("out", "--num-train", 2, "--num-val", 1, "--size", 64, "--digits-per-scene", 1, 2)
    process = start(*options, cwd=tmp_path)
    stdout, stderr = process.communicate()
    assert process.returncode == 0, stderr
    assert "2 training and 1 validation scenes are in out" in stdout
    assert len(list((tmp_path / "out").rglob("*.png"))) == 6

    process = start(*options, cwd=tmp_path)
    _, stderr = process.communicate()
    assert process.returncode == 1
    assert "out holds digit scenes already" in stderr
    assert "--overwrite" in stderr


def test_terminated_half_way_leaves_nothing(tmp_path):
    process = start("out", "--num-train", 100000, cwd=tmp_path)
    deadline = time.monotonic() + 120
    while not list(tmp_path.rglob("*.png")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGTERM)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "nothing was written" in stderr
    assert list(tmp_path.iterdir()) == []
