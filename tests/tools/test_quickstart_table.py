"""Table of results at the end of the quick start."""

import json
import runpy
from pathlib import Path

import pytest

TOOL = Path(__file__).parents[2] / "tools" / "misc" / "quickstart_table.py"
main = runpy.run_path(str(TOOL))["main"]

METRICS = {
    "classification": {"accuracy/top1": 97.0},
    "detection": {"coco/bbox_mAP_50": 0.7, "coco/segm_mAP_50": 0.6},
    "segmentation": {"mIoU": 70.0},
}


@pytest.fixture
def folder(tmp_path):
    for task, metrics in METRICS.items():
        log = tmp_path / task / "test" / "20260101_000000" / "20260101_000000.json"
        log.parent.mkdir(parents=True)
        log.write_text(json.dumps(metrics))
        main([str(tmp_path), "--collect", task, "61.5"])
    return tmp_path


def test_floors_reached(folder, capsys):
    assert main([str(folder)]) == 0
    table = capsys.readouterr().out
    assert table.count("reached") == 4
    assert "0.970" in table
    assert "0.600" in table


def test_a_missed_floor_fails(folder, capsys):
    metrics = folder / "segmentation" / "metrics.json"
    metrics.write_text(metrics.read_text().replace("70.0", "59.9"))
    assert main([str(folder)]) == 1
    assert capsys.readouterr().out.count("MISSED") == 1


def test_a_test_without_a_log_is_an_error(tmp_path):
    with pytest.raises(SystemExit, match="no logged metrics"):
        main([str(tmp_path), "--collect", "detection", "1"])
