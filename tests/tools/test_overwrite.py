"""Tools only overwrite existing files on request, and never their inputs."""

import pytest

from smallvit.cli import recipe
from tool_helpers import load_tool, run_main

#: A tool, its arguments before the output file, and whether one of them is an input file.
WRITERS = {
    "test.py": ("c.py", "READ", "--out"),
    "model_converters/convert.py": ("dwnet", "READ"),
    "multi_exit/official.py": ("READ",),
    "multi_exit/calibrate.py": ("c.py", "READ", "--out"),
    "multi_exit/plot.py": ("READ", "--out"),
    "multi_exit/benchmark.py": ("c.py", "x.pth", "--json"),
    "analysis_tools/draw_predictions.py": ("c.py", "READ", "--out"),
    "analysis_tools/plot_logs.py": ("runs", "--out"),
    "analysis_tools/benchmark.py": ("c.py", "--json"),
    "analysis_tools/benchmark_backbones.py": ("--json",),
    "analysis_tools/benchmark_checkpoint.py": ("--json",),
    "analysis_tools/benchmark_deployment.py": ("x", "--json"),
    "analysis_tools/benchmark_in_memory.py": ("--json",),
    "analysis_tools/benchmark_loader.py": ("--json",),
    "analysis_tools/benchmark_ops.py": ("--json",),
    "analysis_tools/measure_gpu.py": ("--dry-run", "--out"),
    "locality_guidance/benchmark.py": ("a.py", "b.py", "--json"),
    "misc/verify_dataset.py": ("c.py", "--json"),
    "recipe": ("c.py", "--json"),
}


@pytest.mark.parametrize("tool", WRITERS)
def test_existing_files_are_not_overwritten(tool, tmp_path, capsys):
    file = tmp_path / "mine.json"
    if "plot_logs" in tool:
        file = tmp_path / "mine.png"
    file.write_text("years of work")
    main = recipe.main if tool == "recipe" else load_tool(tool).main
    flags = [file if each == "READ" else each for each in WRITERS[tool]]
    if "READ" in WRITERS[tool]:
        assert run_main(main, *flags, file, "--overwrite") == 1
        assert "is an input file" in capsys.readouterr().err
    others = [tmp_path / "other.pth" if each == "READ" else each for each in WRITERS[tool]]
    assert run_main(main, *others, file) == 1
    assert f"{file} already exists: pass --overwrite" in capsys.readouterr().err
    assert file.read_text() == "years of work"
