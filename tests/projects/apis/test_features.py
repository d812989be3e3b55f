"""The ``smallvit features`` command, for the three tasks and a cascade."""

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

from smallvit.apis import Predictor
from smallvit.apis.features import find_data, find_folder
from smallvit.apis.predictor import pooled
from smallvit.cli import features
from smallvit.errors import UserError
from tool_helpers import run_main, write_pictures


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    root = tmp_path_factory.mktemp("pictures") / "data"
    write_pictures(root)
    return root


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def run(*argv):
    return run_main(features.main, *argv)


def test_features_of_class_folders(checkpoints, pictures, tmp_path, capsys):
    files = ["--out", "map.png", "--sheet", "near.png", "--save", "all.npz"]
    argv = [checkpoints["classification"], pictures, *files, "--neighbors", "3", "--queries", "2"]
    assert run(*argv, "--device", "cpu") == 0
    shown = capsys.readouterr().out
    assert "test: 10 images, 2 classes" in shown
    # Any network separates dark from bright noise.
    assert "3-NN accuracy" in shown
    assert "(leave one out; the largest class is 50.0%)" in shown
    saved = np.load("all.npz", allow_pickle=False)
    assert saved["features"].shape == (10, 64)
    assert saved["map"].shape == (10, 2)
    assert saved["classes"].tolist() == ["bright", "dark"]
    assert saved["labels"].tolist() == [0] * 5 + [1] * 5
    assert saved["names"][0] == "bright/0.png"
    predictor = Predictor(checkpoints["classification"], device="cpu")
    path = str(pictures / "test/bright/0.png")
    image = predictor.read(path)
    (alone,) = predictor.features([image])
    assert alone == pytest.approx(saved["features"][0], abs=1e-5)
    # The input of the head.
    scores = torch.softmax(predictor.model.head.fc(torch.from_numpy(alone)), 0)
    assert scores.detach().numpy() == pytest.approx(predictor(path).scores, abs=1e-5)
    for name in ("map.png", "near.png"):
        assert (tmp_path / name).stat().st_size > 5000
    assert run(*argv) == 1
    assert "--overwrite" in capsys.readouterr().err


def test_neighbors_among_a_limited_number_of_training_images(checkpoints, pictures, capsys):
    argv = [checkpoints["cascade"], pictures, "--out", "map.png", "--save", "all.csv"]
    assert run(*argv, "--reference", "train", "--max-images", "6", "--seed", "4") == 0
    shown = capsys.readouterr().out
    assert "test: 6 images of 10, sampled with seed 4 (--max-images), 2 classes" in shown
    assert "train: 6 images of 16" in shown
    assert "5-NN accuracy" in shown
    assert "among 6 others" in shown
    rows = list(csv.DictReader(Path("all.csv").read_text("utf-8").splitlines()))
    assert len(rows) == 6
    assert rows[0]["class"] in ("bright", "dark")
    assert {"x", "y", "f0", "f7"} <= set(rows[0])


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--neighbors", "10"], "--neighbors 9 or less"),
        (["--max-images", "5"], "--neighbors 4 or less"),
        (["--reference", "train", "--neighbors", "17"], "--neighbors 16 or less"),
        (["--perplexity", "10"], "images (10), got 10"),
    ],
)
def test_too_few_images_are_refused_before_they_are_computed(
    flags, text, checkpoints, pictures, capsys, monkeypatch
):
    monkeypatch.setattr("smallvit.apis.features.compute", lambda *_: pytest.fail("computed"))
    assert run(checkpoints["classification"], pictures, "--out", "map.png", *flags) == 1
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("task", ["detection", "segmentation"])
def test_images_without_classes(task, checkpoints, pictures, capsys, tmp_path):
    broken = tmp_path / "loose"
    broken.mkdir()
    for number in range(5):
        (broken / f"{number}.png").write_bytes((pictures / f"test/dark/{number}.png").read_bytes())
    (broken / "x.png").write_bytes(b"no image")
    argv = [checkpoints[task], broken, "--out", "map.png", "--neighbors", "2", "--sheet", "s.png"]
    assert run(*argv) == 1
    shown = capsys.readouterr()
    assert "6 images, no classes" in shown.out
    assert "no kNN accuracy" in shown.out
    assert "x.png" in shown.err
    assert (tmp_path / "map.png").exists()


def test_data_of_a_config(small_config):
    found = find_data(small_config("classification"), "test")
    assert len(found.examples) == 360
    assert found.classes[3] == "3"
    assert isinstance(found.examples[0].image, np.ndarray)
    objects = small_config("detection")
    objects.pop("test_dataloader")
    with pytest.raises(UserError, match=r"of the config \(train, val"):
        find_data(objects, "test")


def test_splits_of_folders(pictures):
    assert find_folder(str(pictures)).what.endswith("test")
    assert len(find_folder(str(pictures), "train").examples) == 16
    for root, split in ((pictures, "val"), (pictures / "train", "train")):
        with pytest.raises(UserError, match=f"--split {split}"):
            find_folder(str(root), split)


def test_formats_of_backbone_outputs():
    tokens, maps = torch.rand(2, 5, 3), torch.rand(2, 3, 4, 4)
    assert torch.equal(pooled((maps, [maps, tokens])), tokens.mean(1))
    assert torch.equal(pooled([tokens, (maps,)]), maps.mean((2, 3)))
    assert torch.equal(pooled(tokens[:, 0]), tokens[:, 0])
    for other in ({"a": 1}, torch.rand(3), ()):
        with pytest.raises(UserError, match="expected maps, tokens or vectors"):
            pooled(other)


@pytest.mark.parametrize(
    ("argv", "text"),
    [
        (["x.pth", "--out", "a.png"], "--config FILE"),
        (["x.pth", "d", "--out", "a.txt"], "must be .png"),
        (["x.pth", "d", "--out", "a.png", "--save", "a.pkl"], "must be .npz"),
        (["x.pth", "d", "--out", "a.png", "--queries", "3"], "--sheet"),
        (["x.pth", "d", "--out", "a.png", "--perplexity", "0"], "must be positive"),
        (["x.pth", "d", "--out", "a.png", "--sheet", "a.png"], "same file name"),
    ],
)
def test_flags_that_do_not_fit(argv, text, capsys):
    assert run(*argv) in (1, 2)
    assert text in capsys.readouterr().err
