"""tools/analysis_tools/browse_dataset.py."""

import mmcv
import numpy as np
import pytest

from config_helpers import CONFIGS, read_config
from smallvit.analysis.browsing import Browser
from smallvit.cli import run_tool
from tool_helpers import load_tool

browse = load_tool("analysis_tools/browse_dataset.py").main


def config(name, scenes=None):
    cfg = read_config(f"dwnet/dwnet-mini_digits{name}.py")
    if scenes is not None:
        cfg.train_dataloader.dataset.data_root = f"{scenes}/"
    return cfg


@pytest.mark.parametrize("name", ["-det", "-seg"])
def test_both_the_stored_image_and_the_models_are_drawn(name, digit_scenes):
    widths = {}
    for mode in ("original", "transformed", "concat"):
        browser = Browser(config(name, digit_scenes), "train", mode, size=64)
        tile = browser.tile(0)
        widths[mode] = tile.image.shape[1]
        assert tile.labels
        assert tile.caption.endswith(".png")
    assert widths["concat"] > widths["original"] + 64


def test_each_step_that_changes_the_image_is_drawn():
    cfg = read_config("dhvt/dhvt-t-p4_cifar100.py")
    cfg.train_dataloader.dataset = dict(
        type="smallvit.Digits", split="train", pipeline=cfg.train_dataloader.dataset.pipeline
    )
    cfg.default_scope = "mmpretrain"
    np.random.seed(0)
    tile = Browser(cfg, "train", "pipeline", size=64).tile(0)
    names, label = tile.caption.splitlines()
    assert names.startswith("stored 8x8 | RandomCrop 16x16")
    assert "PackInputs" not in names
    assert label in list("0123456789")
    assert tile.image.shape[1] >= 2 * 64


def test_classes_are_named_and_the_sheet_is_written(tmp_path, capsys):
    path = str(CONFIGS / "dwnet/dwnet-mini_digits.py")
    out = tmp_path / "sheets/train.png"
    assert run_tool(browse, [path, "--out", str(out), "-n", "3", "--size", "64"]) == 0
    assert f"{out}: 3 of 1247 images, transformed" in capsys.readouterr().out
    before = out.read_bytes()
    assert run_tool(browse, [path, "--out", str(out)]) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert out.read_bytes() == before
    tile = Browser(config(""), "train", "original", size=32).tile(0)
    assert tile.caption.splitlines()[1] in list("0123456789")


def test_images_can_be_written_to_a_folder(tmp_path, digit_scenes):
    path = str(CONFIGS / "dwnet/dwnet-mini_digits-det.py")
    options = ["--cfg-options", f"train_dataloader.dataset.data_root={digit_scenes}/"]
    browse([path, "-o", str(tmp_path / "drawn"), "-n", "2", "--size", "64", *options])
    assert sorted(each.name for each in (tmp_path / "drawn").iterdir()) == [
        *("000000.png", "000001.png")
    ]
    assert mmcv.imread(str(tmp_path / "drawn/000000.png")).ndim == 3


def test_invalid_configs_and_options_are_rejected(tmp_path, capsys):
    path = tmp_path / "c.py"
    path.write_text("default_scope = 'mmpretrain'\n")
    assert run_tool(browse, [str(path), "--out", str(tmp_path / "x.png")]) == 1
    assert "no train_dataloader. Choose another --phase" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        browse([str(path), "--out", "x.png", "--output-dir", "d"])
    for flags in (["--mode", "pipeline", "--columns", "2"], ["-o", "d", "--in-order"]):
        with pytest.raises(SystemExit):
            browse([str(path), *flags])
