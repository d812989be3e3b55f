"""Mean and standard deviation over folds: console output and files."""

import csv
import json

import pytest

from smallvit.apis.training import folds
from smallvit.apis.training.fold_summary import (
    Spread,
    class_lines,
    class_spreads,
    spreads,
    table_lines,
    write_summary,
)
from smallvit.engine.predictions import read_predictions, write_classes, write_instances
from smallvit.errors import UserError


def result(accuracy, recall, best=None, predictions="predictions.json"):
    known = {"count": 2, "recall": recall, "precision": None, "f1": 50.0, "iou": 40.0}
    return {
        "metrics": {"accuracy/top1": accuracy},
        "classes": {"cat": known, "dog": known},
        "best": best and {"metric": "accuracy/top1", "value": best, "checkpoint": "best.pth"},
        "counted": "images",
        "images": 2,
        "predictions": predictions,
    }


def test_mean_and_standard_deviation():
    spread = Spread("x", (1.0, 2.0, 4.5, None))
    assert spread.mean == pytest.approx(2.5)
    assert spread.std == pytest.approx(1.80278, rel=1e-4)
    assert spread.text() == "2.5 ± 1.803"
    assert Spread("x", (3.0,)).text() == "3"
    assert Spread("x", (None, None)).text() == "nothing to evaluate"


def test_tables_are_aligned():
    results = [result(70.0, 60.0, 72.0), result(80.0, None, 81.5)]
    lines = table_lines(spreads(results), [1, 4])
    assert lines[0].split() == ["metric", "fold", "1", "fold", "4", "mean", "±", "std"]
    assert lines[1].split() == ["accuracy/top1", "70", "80", "75", "±", "7.071"]
    assert lines[2].startswith("accuracy/top1 (best epoch)")
    assert len({len(line) for line in lines}) == 1
    head, _, cat, _ = class_lines(class_spreads(results), "objects")
    assert head == "in percent of objects:"
    assert "60" in cat
    assert "nothing to evaluate" in cat


def test_files_of_classifiers(tmp_path):
    results = {1: result(50.0, 50.0), 2: result(100.0, 100.0)}
    for number, said in ((1, 1), (2, 0)):
        folder = tmp_path / f"fold_{number}"
        folder.mkdir()
        samples = [
            {
                "img_path": f"{number}.png",
                "gt_label": 0,
                "pred_label": said,
                "pred_score": [0.2, 0.8],
            }
        ]
        write_classes(str(folder / "predictions.json"), samples, ["cat", "dog"])
    files = write_summary(str(tmp_path), results, 2)
    assert {path.name for path in tmp_path.iterdir() if path.is_file()} == set(files)
    found = json.loads((tmp_path / "summary.json").read_text())
    assert found["metrics"]["accuracy/top1"]["mean"] == 75
    assert found["classes"]["cat"]["recall"]["folds"] == [50, 100]
    rows = list(csv.DictReader((tmp_path / "summary.csv").open()))
    assert rows[0]["fold_2"] == "100.0"
    rows = list(csv.DictReader((tmp_path / "out_of_fold.csv").open()))
    assert [(one["image"], one["fold"], one["predicted"]) for one in rows] == [
        ("1.png", "1", "dog"),
        ("2.png", "2", "cat"),
    ]
    assert [one["fold"] for one in read_predictions(tmp_path / "out_of_fold.json")] == [1, 2]


def test_objects_are_joined_when_all_folds_are_there(tmp_path):
    results = {}
    for number in (1, 2):
        (tmp_path / f"fold_{number}").mkdir()
        found = [{"image_id": number, "category_id": 1, "bbox": [0, 0, 1, 1], "score": 0.5}]
        write_instances(str(tmp_path / f"fold_{number}/predictions.json"), found)
        results[number] = result(0.5, 1.0)
        files = write_summary(str(tmp_path), results, 2)
        assert ("out_of_fold.json" in files) == (number == 2)
    joined = read_predictions(tmp_path / "out_of_fold.json")
    assert [(one["image_id"], one["fold"]) for one in joined] == [(1, 1), (2, 2)]


def test_other_settings_are_refused_once_a_fold_is_trained(tmp_path):
    work_dir = str(tmp_path)
    empty = {"metrics": {}, "classes": {}, "counted": "images"}
    settings = {"model": "dhvt-t", "lr": None, "images": "abc", "cfg_options": {}}
    folds.start_or_resume(work_dir, settings)
    folds.start_or_resume(work_dir, {**settings, "lr": 0.1})  # no fold is trained yet
    (tmp_path / "fold_1").mkdir()
    (tmp_path / "fold_1/result.json").write_text(json.dumps(empty))
    folds.start_or_resume(work_dir, {**settings, "lr": 0.1})
    with pytest.raises(UserError, match=r"--lr 0.1 .*not given.*--work-dir"):
        folds.start_or_resume(work_dir, settings)
    with pytest.raises(UserError, match=r"images or labels have changed .*--work-dir"):
        folds.start_or_resume(work_dir, {**settings, "lr": 0.1, "images": "abd"})
    sized = {**settings, "lr": 0.1, "image_sizes": "abc"}
    folds.start_or_resume(work_dir, sized)  # earlier versions store no sizes
    with pytest.raises(UserError, match=r"images or labels have changed .*--work-dir"):
        folds.start_or_resume(work_dir, {**sized, "image_sizes": "abd"})
    assert folds.read_result(work_dir, 1) == empty
    assert folds.read_result(work_dir, 2) is None
    (tmp_path / "fold_1/result.json").write_text("{")
    with pytest.raises(UserError, match="damaged"):
        folds.read_result(work_dir, 1)
