"""``smallvit train MODEL --data PATH --folds N``: cross-validation, resuming and summary."""

import json

import pytest

from smallvit.errors import PreemptedError
from tool_helpers import load_tool, run_main, write_pictures


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_pictures(tmp_path / "all")
    (tmp_path / "all/train").rename(tmp_path / "flat")
    return tmp_path / "flat"


def train(*argv):
    return run_main(load_tool("train.py").main, *argv)


def test_folds_are_trained_once_and_summed_up(pictures, tmp_path, capsys, monkeypatch):
    options = [f"{split}_dataloader.num_workers=0" for split in ("train", "val")]
    options += ["test_dataloader.num_workers=0"]
    flags = ["--epochs", "1", "--batch-size", "4", "--image-size", "16", "--cfg-options", *options]
    argv = ["dhvt", "--data", pictures, "--folds", "2", *flags]
    # A preempted run of a fold; the next command resumes it.
    tool = load_tool("train.py")

    def ask_to_end(args):
        # With a shared name, the curves of all folds would be written to the folder of the first.
        assert args.cfg_options["visualizer.name"].endswith("_2-folds/fold_1")
        raise PreemptedError("saved")

    with monkeypatch.context() as patch:
        patch.setattr(tool, "train", ask_to_end)
        assert train(*argv) == 75
    assert "fold 1 of 2: saved; the command for all folds resumes" in capsys.readouterr().err
    assert train(*argv, "--fold", "2") == 0
    shown = capsys.readouterr().out
    assert "fold 1   8 training images, 8 validation images" in shown
    assert "not finished: fold 1" in shown
    work = tmp_path / "work_dirs/dhvt-t_flat_2-folds"
    assert not (work / "out_of_fold.csv").exists()
    # The summary uses held-out images and the final checkpoints.
    before = (work / "fold_2/result.json").stat().st_mtime_ns
    assert train(*argv) == 0
    shown = capsys.readouterr().out
    assert "== fold 2 of 2: already finished ==" in shown
    assert (work / "fold_2/result.json").stat().st_mtime_ns == before
    assert "not finished" not in shown
    assert "mean ± std" in shown
    found = json.loads((work / "summary.json").read_text())
    values = [
        json.loads((work / f"fold_{number}/run.json").read_text())["final"]["metrics"]
        for number in (1, 2)
    ]
    assert found["metrics"]["accuracy/top1"]["folds"] == pytest.approx(
        [one["accuracy/top1"] for one in values]
    )
    assert found["images"] == [8, 8]
    assert (work / "fold_1/curves.png").stat().st_size > 1000
    rows = (work / "out_of_fold.csv").read_text().splitlines()
    assert len({row.split(",")[0] for row in rows[1:]}) == 16
    folds = dict(line.split(",") for line in (work / "folds.csv").read_text().splitlines()[1:])
    for row in rows[1:]:
        path, fold = row.split(",")[:2]
        assert folds["/".join(path.split("/")[-2:])] == fold
    # A fold trained with other flags is not reused.
    argv[argv.index("--epochs") + 1] = "2"
    assert train(*argv) == 1
    assert "--epochs 1 (now: 2)" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["--fold", "1"], "--fold requires --folds"),
        (["--fold-seed", "1"], "--fold-seed requires --folds"),
        (["--folds", "1"], "--folds 1"),
        (["--folds", "3", "--fold", "4"], "between 1 and 3"),
        (["--folds", "3", "--no-validate"], "--no-validate cannot"),
        (["--folds", "3", "--resume", "x.pth"], "resume automatically"),
        (["--folds", "9"], "class bright has 8 images, but 9 folds"),
        (["--folds", "3", "--cfg-options", "work_dir=x"], "--work-dir"),
    ],
)
def test_invalid_folds_are_rejected(argv, text, pictures, capsys):
    assert train("dhvt-t", "--data", pictures, *argv) == 1
    assert text in capsys.readouterr().err


def test_folds_need_data(capsys):
    assert train("configs/dhvt/dhvt-t_folder.py", "--folds", "3") == 1
    assert "--folds requires --data" in capsys.readouterr().err
