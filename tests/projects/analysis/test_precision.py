"""Gradient errors of half precision."""

from config_helpers import CONFIGS
from tool_helpers import load_tool


def test_gradient_is_further_off_in_bfloat16(capsys):
    tool = load_tool("analysis_tools/compare_precisions.py")
    tool.main([str(CONFIGS / "dw_shortcut/vit-mini_digits.py"), "--size", "32"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines() if "gradient" in line]
    assert [row[0] for row in rows] == ["bfloat16:", "float16:"]
    coarse, fine = (float(row[row.index("gradient") + 1].rstrip(",")) for row in rows)
    # Eight and eleven significant bits, summed over many values; torch 2.4 gives 0.2.
    assert 2**-11 < coarse < 0.3
    assert 2**-14 < fine < coarse / 2
