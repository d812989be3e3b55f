"""Sheets of predictions, from files as test.py writes them."""

import pickle
import runpy
from pathlib import Path

import mmengine
import numpy as np
import pytest
import torch

from smallvit.cli import run_tool

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs" / "dwnet"
draw = runpy.run_path(str(ROOT / "tools" / "analysis_tools" / "draw_predictions.py"))["main"]


def _dump(folder: Path, predictions: list) -> str:
    path = folder / "predictions.pkl"
    path.write_bytes(pickle.dumps(predictions))
    return str(path)


def _height_and_width(path: Path) -> tuple[int, int]:
    import mmcv

    return mmcv.imread(str(path)).shape[:2]


def test_wrong_digits_come_first(tmp_path):
    from mmengine.config import Config

    from smallvit.analysis.pictures import draw_samples, load_predictions

    def prediction(said):
        return dict(
            pred_label=torch.tensor([said]),
            gt_label=torch.tensor([1]),
            pred_score=torch.full((10,), 0.1),
        )

    path = _dump(tmp_path, [prediction(said) for said in (1, 1, 7, 1)])
    cfg = Config.fromfile(CONFIGS / "dwnet-mini_digits.py")
    tiles = draw_samples(cfg, load_predictions(path), num=3, size=40, score_thr=0.5)
    captions = [caption for _, caption in tiles]
    assert captions[0] == "7 (0.10), WRONG, is 1"
    assert all("right" in caption for caption in captions[1:])
    assert tiles[0][0].shape == (40, 40, 3)


def test_detections_are_drawn_above_the_threshold(tmp_path, digit_scenes):
    from pycocotools import mask as coco_mask

    image = next((digit_scenes / "images" / "validation").glob("*.png"))
    mask = np.zeros((64, 64), np.uint8, order="F")
    mask[10:30, 10:30] = 1
    found = dict(
        bboxes=torch.tensor([[10.0, 10, 30, 30], [0, 0, 5, 5]]),
        scores=torch.tensor([0.9, 0.1]),
        labels=torch.tensor([3, 4]),
        masks=[coco_mask.encode(mask)] * 2,
    )
    predictions = _dump(tmp_path, [dict(img_path=str(image), pred_instances=found)] * 2)
    pictures = {}
    for threshold in ("0.5", "0.95"):
        out = tmp_path / f"{threshold}.png"
        config = str(CONFIGS / "dwnet-mini_digits-det.py")
        options = ["--cfg-options", f"test_dataloader.dataset.data_root={digit_scenes}/"]
        args = [config, predictions, "--out", str(out), "--score-thr", threshold, "--size", "128"]
        draw([*args, "--columns", "2", *options])
        pictures[threshold] = out.read_bytes()
    assert pictures["0.5"] != pictures["0.95"]
    height, width = _height_and_width(out)
    assert width > height


def test_segments_are_drawn(tmp_path, digit_scenes):
    labels = torch.zeros(1, 64, 64, dtype=torch.int64)
    labels[:, 20:40] = 5
    predictions = _dump(tmp_path, [dict(pred_sem_seg=dict(data=labels))] * 2)
    out = tmp_path / "drawn" / "segments.png"
    args = [str(CONFIGS / "dwnet-mini_digits-seg.py"), predictions, "--out", str(out)]
    options = ["--cfg-options", f"test_dataloader.dataset.data_root={digit_scenes}/"]
    draw([*args, "--num", "1", "--size", "128", *options])
    assert _height_and_width(out) > (100, 100)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no predictions at"),
        ({"accuracy": 1.0}, "does not hold the predictions"),
        ([{"unknown": 1}], "cannot be drawn"),
    ],
)
def test_other_files_are_refused(tmp_path, capsys, content, message):
    path = tmp_path / "metrics.pkl"
    if content is not None:
        mmengine.dump(content, str(path))
    out = tmp_path / "sheet.png"
    args = [str(CONFIGS / "dwnet-mini_digits.py"), str(path), "--out", str(out)]
    assert run_tool(draw, args) == 1
    assert message in capsys.readouterr().err
    assert not out.exists()
