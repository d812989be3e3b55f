import json

from tool_helpers import load_tool, run_main

tool = load_tool("analysis_tools/benchmark_in_memory.py")


def test_figures_of_all_ways(tmp_path, capsys):
    file = tmp_path / "result.json"
    options = ("--images", 40, "--batch", 16, "--rounds", 1, "--json", file)
    assert run_main(tool.main, *options) == 0
    speeds = json.loads(file.read_text())["speeds"]
    assert list(speeds) == ["crop, flip", "crop, flip, RandAugment, erasing"]
    for found in speeds.values():
        assert list(found) == list(tool.WAYS)
        assert min(value for clocks in found.values() for value in clocks.values()) > 0
    assert "40 images of 32x32, batches of 16" in capsys.readouterr().out
