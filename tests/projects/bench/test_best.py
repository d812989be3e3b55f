"""Best network in the report; images are only taken from the dataset folder."""

import json
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from smallvit.bench.best import _picture, find_best
from smallvit.bench.hooks import Predictions
from smallvit.bench.predictions import Predicted
from smallvit.bench.settings import BenchSettings, Run


class Found:
    """Results for two classes, two methods and two seeds."""

    def __init__(self, data, names=(("vit", 90.0), ("dwnet", 80.0))):
        self.samples = [5, None]
        self.plan = {
            "data": {"classes": ["ant", "bee"]},
            "settings": BenchSettings(str(data), 32, 16, False, "iters", 30),
        }
        self.summaries = {}
        self.results, self.tested = {}, {}
        for name, accuracy in names:
            self.summaries[name, 5] = type("Summary", (), {"mean": accuracy})
            for seed in range(2):
                run = Run(name, 5, seed, 30, 1)
                self.results[run] = {"val_accuracy": 50.0 + seed}
                self.tested[run] = Predicted(
                    *([0, 0, 1, 1], [0, 1, 0, 1], [0.9, 0.6, 0.8, 0.7]),
                    ["0.png", "1.png", "../secret.png", "3.png"],
                )


def test_the_best_of_the_largest_subset_that_has_results(tmp_path):
    folder = tmp_path / "images"
    folder.mkdir()
    for path in (folder / "1.png", tmp_path / "secret.png"):
        cv2.imwrite(str(path), np.zeros((90, 40, 3), np.uint8))
    best = find_best(Found(folder), str(tmp_path))
    assert best.title == "vit, 5 per class"
    assert best.run.seed == 1  # higher accuracy on the validation images
    assert "runs/vit/5/seed1/model.pth IMAGES" in best.commands[0]
    # Each bench has its own folder, as smallvit predict does not overwrite predictions.
    assert best.commands[0].endswith(f" --out {tmp_path}/predicted")
    assert f" --out {tmp_path}/model.onnx " in best.commands[1]
    assert best.classes == [("ant", 2, "50.0", "bee 50%"), ("bee", 2, "50.0", "ant 50%")]
    assert best.matrix == [("ant", 2, 2), ("bee", 2, 2)]
    # Most confident first. Files outside of the dataset are not shown, whoever wrote the
    # predictions.
    assert [each.image for each in best.mistakes] == ["../secret.png", "1.png"]
    assert [each.picture is None for each in best.mistakes] == [True, False]
    assert (best.mistakes[0].right, best.mistakes[0].said) == ("bee", "ant")


def test_non_images_are_not_shown(tmp_path):
    (tmp_path / "a.png").write_text("<script>")
    assert _picture(str(tmp_path), "a.png") is None
    assert _picture(str(tmp_path), "missing.png") is None
    assert _picture("digits", "test image 3") is None


def test_commands_without_predictions(tmp_path):
    """As for detectors and segmentors."""
    found = Found(tmp_path)
    found.tested = {}
    best = find_best(found, str(tmp_path))
    assert best.title == "vit, 5 per class"
    assert "runs/vit/5/seed1/model.pth" in best.commands[1]
    assert best.classes == best.matrix == best.mistakes == []


@pytest.mark.parametrize("name", ["dvt", "dvt+shortcut", "resnet"])
def test_a_cascade_is_calibrated(tmp_path, name):
    found = Found(tmp_path, [(name, 90.0), ("dwnet", 80.0)])
    (*calibration, predict, _) = find_best(found, str(tmp_path)).commands
    assert predict.startswith("smallvit predict")
    assert bool(calibration) == name.startswith("dvt")
    for command in calibration:
        assert command.startswith("smallvit calibrate ")
        assert f"runs/{name}/5/seed1/config.py" in command


def test_images_of_a_table_are_beside_it(tmp_path):
    (tmp_path / "cat").mkdir()
    cv2.imwrite(str(tmp_path / "cat/1.png"), np.zeros((9, 9, 3), np.uint8))
    (tmp_path / "labels.csv").write_text("")
    assert _picture(str(tmp_path / "labels.csv"), "cat/1.png") is not None
    hook = Predictions()
    hook.paths, hook.labels = [str(tmp_path / "cat/1.png")], [0]
    table = SimpleNamespace(data_root="", ann_file=str(tmp_path / "labels.csv"))
    hook.write(str(tmp_path), table)
    assert json.loads((tmp_path / "predictions.json").read_text())["images"] == ["cat/1.png"]
