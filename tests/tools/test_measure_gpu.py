"""measure_gpu.py on a CPU: every row at toy size, parsing of logs, and the table."""

import json
import time
from types import SimpleNamespace

import pytest
import torch

from tool_helpers import load_tool, run_main

tool = load_tool("analysis_tools/measure_gpu.py")
rows = load_tool("analysis_tools/gpu_rows.py")


@pytest.fixture(autouse=True)
def device_variable(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")  # set by a dry run


@pytest.fixture
def bench(tmp_path):
    return rows.Bench("cpu", True, tmp_path, time.monotonic() + 100)


def test_operators_are_measured_and_the_table_names_the_device(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rows, "functions", lambda: {"operators": operators})
    monkeypatch.setitem(tool.sys.modules, "gpu_rows", rows)
    from gpu_networks import operators

    out = tmp_path / "gpu.md"
    arguments = ("--dry-run", "--rows", "operators", "--work-dir", tmp_path / "run")
    assert run_main(tool.main, *arguments, "--out", out) == 0
    text = out.read_text()
    assert text.startswith("CPU, a dry run: no measurement; torch ")
    assert "    python tools/analysis_tools/measure_gpu.py --dry-run --rows operators" in text
    assert "| operators | copy bandwidth | " in text
    assert text.count("% of the bandwidth)") == 4
    assert text in capsys.readouterr().out


def test_failed_and_skipped_rows_are_reported(tmp_path, monkeypatch, capsys):
    def fails(bench):
        raise RuntimeError("first line\ntrain.py ended with 1: no data")

    found = {"train-32": fails, "nccl": lambda bench: [("loss", "1 | 2")]}
    monkeypatch.setattr(rows, "functions", lambda: found)
    monkeypatch.setitem(tool.sys.modules, "gpu_rows", rows)
    arguments = ("--dry-run", "--rows", "train-32", "nccl")
    assert run_main(tool.main, *arguments) == 1
    said = capsys.readouterr().out
    assert "| train-32 | failed | train.py ended with 1: no data |" in said
    assert "| nccl | loss | 1 / 2 |" in said
    monkeypatch.setattr(rows.Bench, "seconds_left", lambda self: 0)
    assert run_main(tool.main, *arguments) == 0
    assert (
        "| nccl | not measured | the time limit of 10 minutes was reached |"
        in capsys.readouterr().out
    )


def test_without_a_gpu_the_error_names_the_dry_run(monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert run_main(tool.main) == 1
    assert "torch sees no GPU, so there is nothing to measure; --dry-run" in capsys.readouterr().err


def test_every_row_has_its_function():
    assert tuple(rows.functions()) == tool.ROWS


def test_throughput_is_read_off_the_last_line(tmp_path):
    folder = tmp_path / "20260101/vis_data"
    folder.mkdir(parents=True)
    lines = [dict(time=9.0, data_time=9.0), dict(time=0.5, data_time=0.1), dict(accuracy=1.0)]
    (folder / "scalars.json").write_text("\n".join(map(json.dumps, lines)))
    assert [value for _, value in rows.throughput(tmp_path, 64)] == ["128", "20%"]


def test_a_tool_that_fails_gives_its_last_line(bench, monkeypatch):
    def run(command, **options):
        assert command[1].endswith("tools/train.py")
        assert command[2:] == ["c.py", "7"]
        return SimpleNamespace(returncode=3, stderr="Traceback\nno such config file\n", stdout="")

    monkeypatch.setattr(rows.subprocess, "run", run)
    with pytest.raises(RuntimeError, match=r"train.py exited with 3: no such config file"):
        bench.run("train.py", "c.py", 7)


@pytest.mark.exhaustive
def test_all_rows_at_toy_size(tmp_path, capsys):
    arguments = ("--dry-run", "--minutes", "60", "--work-dir", tmp_path)
    status = run_main(tool.main, *arguments)
    said = capsys.readouterr().out
    assert status == 0, said
    assert all(f"| {name} | " in said for name in tool.ROWS)
    assert "| resume | weights after a resume | equal to the bit |" in said
