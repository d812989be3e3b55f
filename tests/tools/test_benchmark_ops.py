import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "analysis_tools" / "benchmark_ops.py"


@pytest.fixture(scope="module")
def tool():
    spec = importlib.util.spec_from_file_location("benchmark_ops", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_help_needs_no_torch():
    code = (
        "import runpy, sys; sys.modules['torch'] = None; sys.argv = ['tool', '--help']; "
        f"runpy.run_path({str(TOOL)!r}, run_name='__main__')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--channels-last" in done.stdout


@pytest.mark.parametrize("operator", ["inhomogeneous", "dynamic"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_table_and_json(tool, operator, dtype, tmp_path, capsys):
    out = tmp_path / "out.json"
    flags = ["--shape", "2", "6", "9", "7", "--groups", "3", "--kernel-size", "5"]
    flags += ["--operator", operator, "--dtype", dtype, "--repeats", "2"]
    tool.main([*flags, "--channels-last", "--json", str(out)])
    table = capsys.readouterr().out
    results = json.loads(out.read_text())
    assert list(results["modes"]) == ["inference", "forward+backward"]
    for mode, figures in results["modes"].items():
        assert mode in table
        assert len(figures["seconds"]["ours"]) == 2
        # A call allocates at least its result.
        assert figures["extra_bytes"]["ours"] >= 2 * 6 * 9 * 7 * (4 if dtype == "float32" else 2)
    assert list(tmp_path.iterdir()) == [out]


def test_memory_is_below_a_fifth_of_unfold(tool):
    args = tool.parse_args(["--shape", "1", "96", "56", "56", "--repeats", "1"])
    for figures in tool.measure(args)["modes"].values():
        assert figures["memory_ratio"] > 5


def test_formulations_that_differ_are_refused(tool):
    import torch

    with pytest.raises(tool.UserError, match="differ by 1 of the largest value"):
        tool.check_agreement(torch.ones(2), torch.zeros(2))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--groups", "5"], "--groups 5 does not divide the 96 channels"),
        (["--kernel-size", "4"], "--kernel-size must be odd, got 4"),
        (["--repeats", "0"], "argument --repeats: 0 is not a positive integer"),
        (["--shape", "1", "0", "2", "2"], "argument --shape: 0 is not a positive integer"),
    ],
)
def test_bad_flags(tool, flags, message, capsys):
    with pytest.raises(SystemExit):
        tool.parse_args(flags)
    assert message in capsys.readouterr().err


def test_attention_is_a_table_of_its_own(tool, tmp_path, capsys, monkeypatch):
    from smallvit.analysis import attention_timing

    monkeypatch.setattr(attention_timing.time_all, "__defaults__", ((), ((2, 4),)))
    out = tmp_path / "out.json"
    tool.main(["--attention", "--tokens", "5", "--repeats", "2", "--json", str(out)])
    table = capsys.readouterr().out
    assert "bfloat16 instructions" in table
    rows = json.loads(out.read_text())["sizes"]
    assert [(row["dtype"], row["training"]) for row in rows] == [
        (dtype, training) for dtype in ("float32", "bfloat16") for training in (False, True)
    ]
    for row in rows:
        assert row["chosen"] == "fused" or row["training"]
        assert row["cpu"].keys() == row["wall"].keys() == {"fused", "explicit"}
        assert f"{row['ratio']:.2f}  {row['chosen']}" in table


@pytest.mark.parametrize("flags", [["--attention", "--groups", "3"], ["--tokens", "5"]])
def test_flags_without_a_meaning_are_refused(tool, flags, capsys):
    with pytest.raises(SystemExit):
        tool.parse_args(flags)
    assert "--" in capsys.readouterr().err
