"""tools/analysis_tools/benchmark_optimizer.py."""

import pytest

from config_helpers import CONFIGS
from tool_helpers import load_tool

TOOL = load_tool("analysis_tools/benchmark_optimizer.py")


def test_it_prints_groups_and_times(capsys):
    TOOL.main([str(CONFIGS / "dwnet/dwnet-mini_digits.py"), "--steps", "2"])
    *_, line = capsys.readouterr().out.splitlines()
    name, merged, single, *times = line.split()
    assert name.endswith("dwnet-mini_digits.py")
    assert int(merged) == 2 < int(single)
    assert len([float(each) for each in times]) == 3


def test_no_steps_are_refused(capsys):
    with pytest.raises(SystemExit):
        TOOL.main(["x.py", "--steps", "0"])
    assert "--steps 0" in capsys.readouterr().err
