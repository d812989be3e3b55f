import pytest

from tool_helpers import ROOT, load_tool, run_main, write_tiny_config

get_flops = load_tool("analysis_tools/get_flops.py")


def test_prints_a_table_and_totals(capsys):
    config = ROOT / "configs/dwnet/dwnet-mini_digits.py"
    assert run_main(get_flops.main, config, "--shape", 32, "--depth", 2) == 0
    out = capsys.readouterr().out
    assert "classification, input 32 x 32" in out
    assert "|  backbone" in out
    assert "|   backbone." in out
    assert "|    backbone." not in out
    assert "not counted" not in out


def test_cfg_options_reach_the_model(tmp_path, capsys):
    config = write_tiny_config(tmp_path)
    sizes = []
    for width in (8, 16):
        # Twice the channels: four times the FLOPs of every convolution except the stem.
        options = [f"model.backbone.{part}_channels={width}" for part in ("stem", "base")]
        options.append(f"model.head.in_channels={8 * width}")
        assert run_main(get_flops.main, config, "--shape", 16, 16, "--cfg-options", *options) == 0
        totals = capsys.readouterr().out.split("FLOPs: ")[1]
        sizes.append(float(totals.split("G")[0]))
    assert sizes[1] / sizes[0] == pytest.approx(4, rel=0.2)


@pytest.mark.parametrize("shape", [["1", "2", "3"], ["0"]])
def test_bad_shapes(shape, capsys):
    assert run_main(get_flops.main, "c.py", "--shape", *shape) == 2
    assert "must be one or two positive numbers" in capsys.readouterr().err


def test_config_without_a_model(tmp_path, capsys):
    config = tmp_path / "empty.py"
    config.write_text("a = 1\n")
    assert run_main(get_flops.main, config) == 1
    assert f"{config}: counting requires model" in capsys.readouterr().err
