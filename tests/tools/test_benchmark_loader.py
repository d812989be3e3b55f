import json

import pytest

from config_helpers import ROOT
from smallvit.analysis.harness import Timing
from tool_helpers import load_tool, run_main, write_pictures, write_tiny_config

tool = load_tool("analysis_tools/benchmark_loader.py")
QUICK = ("--images", 12, "--size", "40x30", "--repeats", 2, "--batch-size", 4)


@pytest.mark.parametrize("workers", [0, 1])
def test_figures_of_both(tmp_path, capsys, workers):
    file = tmp_path / "result.json"
    assert run_main(tool.main, *QUICK, "--workers", workers, "--json", file) == 0
    result = json.loads(file.read_text())
    speeds = result["images_per_second_and_core"]
    assert list(speeds) == ["folder", "lmdb"]
    for clock in ("wall", "cpu"):
        assert [len(speeds[kind][clock]) for kind in speeds] == [2, 2]
        assert min(speeds["folder"][clock] + speeds["lmdb"][clock]) > 0
        ratios = result["lmdb_over_folder"][clock]
        assert ratios[1] == pytest.approx(speeds["lmdb"][clock][1] / speeds["folder"][clock][1])
    out = capsys.readouterr().out
    assert "12 images of 40x30" in out
    assert out.count("lmdb / folder") == 2


def test_takes_turns(monkeypatch):
    passes = []

    def timed(load, *_):
        load()
        return Timing(2.0, 1.0)

    class Loader:
        dataset = range(8)

        def __init__(self, name):
            self.name = name

        def __iter__(self):
            passes.append(self.name)
            yield from ([0] * 4, [0] * 4)

    monkeypatch.setattr("smallvit.analysis.harness.timed", timed)
    args = tool.parse_args(["--repeats", "2", "--workers", "2"])
    result = tool.measure({kind: Loader(kind) for kind in tool.KINDS}, args)
    # The first turn of each loader is a warm-up.
    assert passes == ["folder", "lmdb", "folder", "lmdb", "lmdb", "folder"]
    assert result["images_per_second_and_core"]["lmdb"] == {"wall": [2.0, 2.0], "cpu": [8.0, 8.0]}


def test_images_and_pipeline_of_ones_own(tmp_path, capsys):
    write_pictures(tmp_path)
    config = write_tiny_config(tmp_path / "tiny")
    options = ("--data", tmp_path / "train", "--images", 8, "--repeats", 1)
    assert run_main(tool.main, config, *options) == 0
    assert f"8 images of {tmp_path}/train" in capsys.readouterr().out
    chosen = tool.choose_images(str(tmp_path / "train"), 8)
    assert {label for _, label in chosen.samples} == {0, 1}


def test_refuses_different_images(tmp_path, capsys, monkeypatch):
    write = tool.write_store

    def write_and_change(path, images):
        size = write(path, images)
        name, _ = images.samples[3]
        with open(f"{images.root}/{name}", "ab") as file:
            file.write(b"more")
        return size

    monkeypatch.setattr(tool, "write_store", write_and_change)
    assert run_main(tool.main, *QUICK) == 1
    assert "folder and store contain different images" in capsys.readouterr().err


def test_mistakes(capsys):
    for options, message in (
        (("--size", "40"), "--size 40 is not of the form 500x375"),
        (("--images", 0), "argument --images: 0 is not a positive integer"),
        (("--workers", -1), "--workers must not be negative"),
    ):
        assert run_main(tool.main, *options) == 2
        assert message in capsys.readouterr().err
    assert run_main(tool.main, ROOT / "configs/dwnet/dwnet-mini_digits.py") == 1
    assert "does not start by loading files" in capsys.readouterr().err
    assert run_main(tool.main, ROOT / "configs/dwnet/dwnet-mini_digits-det.py") == 1
    assert "is not a classification config" in capsys.readouterr().err
