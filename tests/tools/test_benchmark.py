import json

import pytest
import torch

from tool_helpers import ROOT, load_tool, run_main, write_tiny_config

tool = load_tool("analysis_tools/benchmark.py")
QUICK = ("--shape", 32, 32, "--repeats", 2, "--seconds", 0.01)


@pytest.fixture
def tiny(tmp_path):
    return write_tiny_config(tmp_path)


def test_two_models_in_both_modes(tiny, tmp_path, capsys):
    ours = ROOT / "configs/dwnet/dwnet-mini_digits.py"
    file = tmp_path / "result.json"
    argv = (tiny, ours, "--mode", "both", "--batch-size", 4, *QUICK, "--json", file)
    assert run_main(tool.main, *argv) == 0
    written = json.loads(file.read_text())
    assert [result["mode"] for result in written["results"]] == ["forward", "train"]
    for result in written["results"]:
        assert list(result["models"]) == ["tiny", "dwnet-mini_digits"]
        for figures in result["models"].values():
            assert figures["images_per_second"] == pytest.approx(4 / figures["seconds"])
        ratio = result["ratio"]["dwnet-mini_digits"]
        assert 0 < ratio["min"] <= ratio["median"] <= ratio["max"]
    out = capsys.readouterr().out
    assert "times as fast as dwnet-mini_digits" in out
    assert "batch 4, float32" in out


def test_detection_with_every_option():
    config = ROOT / "configs/dwnet/dwnet-mini_digits-det.py"
    threads = torch.get_num_threads()
    try:
        options = ("--amp", "--channels-last", "--threads", 1, *QUICK, "--batch-size", 2)
        argv = (config, "--mode", "both", *options)
        assert run_main(tool.main, *argv) == 0
    finally:
        torch.set_num_threads(threads)


def test_interleaves_the_models(monkeypatch):
    from smallvit.analysis import benchmark, harness
    from smallvit.analysis.harness import Timing

    calls = []
    steps = {name: (lambda name=name: calls.append(name), (1, 1)) for name in "ab"}
    monkeypatch.setattr(benchmark, "_step", lambda cfg, mode, settings: steps[cfg])
    monkeypatch.setattr(harness, "timed", lambda step, *_: step() or Timing(1.0, 1.0))
    settings = benchmark.BenchmarkSettings(batch_size=2, repeats=3)
    result = benchmark.benchmark({"a": "a", "b": "b"}, "forward", settings)
    assert "".join(calls[-6:]) == "ab" + "ba" + "ab"
    assert result["models"]["a"]["images_per_second"] == 2.0
    assert result["ratio"] == {"b": {"median": 1.0, "min": 1.0, "max": 1.0}}


def test_mistakes(tiny, capsys):
    assert run_main(tool.main, tiny, "--repeats", 0) == 2
    assert "argument --repeats: 0 is not a positive integer" in capsys.readouterr().err
    assert run_main(tool.main, tiny, "--device", "cuda:0") == 1
    assert "--device cuda:0: torch sees no CUDA device" in capsys.readouterr().err


def test_cost_of_the_guards(tiny, tmp_path, capsys):
    file = tmp_path / "result.json"
    assert run_main(tool.main, tiny, "--guards", 5, "--json", file) == 0
    (result,) = json.loads(file.read_text())["results"]
    for clock in ("wall", "cpu"):
        figures = result["guards"][clock]
        assert figures["with"] > 0
        assert figures["without"] > 0
    assert "guards, 5 steps of tiny each" in capsys.readouterr().out
