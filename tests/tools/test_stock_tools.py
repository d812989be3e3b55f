"""Tools of the MM packages with our configs, in a process without any preparation."""

import importlib.util
from pathlib import Path

import pytest

import fresh
from tool_helpers import ROOT

#: Emulates how the interpreter runs a script.
RUN = """
import runpy, sys
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""

CASES = {
    "mmpretrain": (
        "dwnet-mini_digits.py",
        [
            *("train_cfg.max_epochs=1", "train_dataloader.batch_size=4"),
            *("train_dataloader.dataset.samples_per_class=1", "val_dataloader.dataset.indices=8"),
        ],
    ),
    "mmdet": ("dwnet-mini_digits-det.py", ["train_cfg.max_epochs=1"]),
    "mmseg": (
        "dwnet-mini_digits-seg.py",
        ["train_cfg.max_iters=1", "train_cfg.val_interval=1", "train_dataloader.batch_size=2"],
    ),
}


@pytest.mark.slow
@pytest.mark.skipif(
    importlib.util.find_spec("pkg_resources") is None,
    reason="MMEngine cannot find package configs without pkg_resources (setuptools<82)",
)
@pytest.mark.parametrize(
    "library",
    [n if n == "mmdet" else pytest.param(n, marks=pytest.mark.exhaustive) for n in CASES],
)
def test_a_librarys_own_train_tool_takes_our_config(library, tmp_path, digit_scenes):
    config, options = CASES[library]
    tool = Path(importlib.util.find_spec(library).origin).parent / ".mim/tools/train.py"
    if library != "mmpretrain":
        for split in ("train", "val", "test"):
            options = [*options, f"{split}_dataloader.dataset.data_root={digit_scenes}"]
    if library == "mmdet":
        truth = digit_scenes / "annotations/instances_val.json"
        options = [*options, *(f"{each}_evaluator.ann_file={truth}" for each in ("val", "test"))]
    argv = (ROOT / "configs/dwnet" / config, "--work-dir", tmp_path, "--cfg-options", *options)
    done = fresh.run(RUN, tool, *argv, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert list(tmp_path.glob("*_1.pth")), done.stdout[-3000:]


@pytest.mark.exhaustive
def test_mmpretrains_browser_takes_our_config(tmp_path):
    """Its other modes require matplotlib before 3.11, because they call a private function."""
    package = Path(importlib.util.find_spec("mmpretrain").origin).parent
    tool = package / ".mim/tools/visualization/browse_dataset.py"
    config = ROOT / "configs/dwnet/dwnet-mini_digits.py"
    flags = ("--not-show", "--output-dir", "out", "--show-number", "2", "--mode", "original")
    done = fresh.run(RUN, tool, config, *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
