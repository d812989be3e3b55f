"""Contact sheets of predictions, from files in the format of test.py."""

import json
import os
import pickle
import runpy
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from smallvit.analysis.pictures import draw_samples
from smallvit.cli import run_tool
from smallvit.engine.prediction_dump import DumpPredictions
from smallvit.engine.predictions import category_ids, detections_by_image, read_predictions

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs" / "dwnet"
draw = runpy.run_path(str(ROOT / "tools" / "analysis_tools" / "draw_predictions.py"))["main"]


def config(name, scenes=None):
    cfg = Config.fromfile(CONFIGS / f"dwnet-mini_digits{name}.py")
    if scenes is not None:
        cfg.test_dataloader.dataset.data_root = f"{scenes}/"
    return cfg


def dataset_of(cfg):
    init_default_scope(cfg.default_scope)
    return DATASETS.build(cfg.test_dataloader.dataset)


def write(path, dataset, samples):
    """Write predictions as a test run does, in two batches."""
    metric = DumpPredictions(str(path), dataset)
    metric.process(None, samples[:1])
    metric.process(None, samples[1:])
    assert metric.evaluate(len(samples)) == {}
    return str(path)


def _height_and_width(path: Path) -> tuple[int, int]:
    import mmcv

    return mmcv.imread(str(path)).shape[:2]


def test_wrong_digits_come_first(tmp_path):
    def prediction(said):
        return dict(
            pred_label=torch.tensor([said]),
            gt_label=torch.tensor([1]),
            pred_score=torch.tensor([1 / 3, *[0.1] * 8, float("nan")]),
        )

    cfg = config("")
    path = write(
        tmp_path / "made" / "p.json", dataset_of(cfg), [prediction(i) for i in (1, 1, 7, 1)]
    )
    predictions = read_predictions(path)
    assert [each["pred_label"] for each in predictions] == [1, 1, 7, 1]
    scores = np.array(predictions[0]["pred_score"], dtype=np.float32)
    assert scores[0] == np.float32(1 / 3)
    assert np.isnan(scores[9])
    assert json.loads(Path(path).read_text())["classes"] == list("0123456789")
    tiles = draw_samples(cfg, predictions, num=3, size=40, score_thr=0.5)
    captions = [tile.caption for tile in tiles]
    assert captions[0] == "7 (0.33), WRONG, is 1"
    assert all("right" in caption for caption in captions[1:])
    assert tiles[0][0].shape == (40, 40, 3)


@pytest.fixture
def detections(tmp_path, digit_scenes):
    """A file with two boxes for the first image and none for the second."""
    dataset = dataset_of(config("-det", digit_scenes))
    mask = torch.zeros(2, 64, 64, dtype=torch.bool)
    mask[:, 10:30, 10:30] = True
    found = dict(
        bboxes=torch.tensor([[10.25, 10, 30, 30], [0, 0, 5, 5]]),
        scores=torch.tensor([0.9, 0.1]),
        labels=torch.tensor([3, 4]),
        masks=mask,
    )
    nothing = {key: value[:0] for key, value in found.items()}
    samples = [
        dict(img_id=dataset.get_data_info(index)["img_id"], pred_instances=instances)
        for index, instances in enumerate((found, nothing))
    ]
    return dataset, write(tmp_path / "p.json", dataset, samples)


def test_instances_are_cocos_results(detections, digit_scenes):
    from pycocotools import mask as coco_mask
    from pycocotools.coco import COCO

    dataset, path = detections
    results = read_predictions(path)
    (loaded, _) = results
    assert loaded["bbox"] == [10.25, 10.0, 19.75, 20.0]
    assert loaded["category_id"] == category_ids(dataset)[3] == 4
    found = COCO(digit_scenes / "annotations/instances_val.json").loadRes(path)
    assert found.annToMask(found.anns[1]).sum() == 400
    first, second = detections_by_image(dataset, results, path)[:2]
    assert first["img_path"] == dataset.get_data_info(0)["img_path"]
    assert first["pred_instances"]["labels"].tolist() == [3, 4]
    assert first["pred_instances"]["bboxes"].tolist() == [[10.25, 10, 30, 30], [0, 0, 5, 5]]
    assert coco_mask.decode(first["pred_instances"]["masks"][0]).sum() == 400
    assert len(second["pred_instances"]["labels"]) == 0


def test_detections_are_drawn_above_the_threshold(detections, tmp_path, digit_scenes):
    pictures = {}
    for threshold in ("0.5", "0.95"):
        out = tmp_path / f"{threshold}.png"
        config = str(CONFIGS / "dwnet-mini_digits-det.py")
        options = ["--cfg-options", f"test_dataloader.dataset.data_root={digit_scenes}/"]
        args = [config, detections[1], "--out", str(out), "--score-thr", threshold, "--size", "128"]
        draw([*args, "--columns", "2", *options])
        pictures[threshold] = out.read_bytes()
    assert pictures["0.5"] != pictures["0.95"]
    height, width = _height_and_width(out)
    assert width > height


def test_segments_are_drawn(tmp_path, digit_scenes):
    cfg = config("-seg", digit_scenes)
    labels = torch.zeros(1, 64, 64, dtype=torch.int64)
    labels[:, 20:40] = 5
    samples = [
        dict(img_path="a.png", pred_sem_seg=dict(data=labels + 300 * number)) for number in range(2)
    ]
    path = write(tmp_path / "p.npz", dataset_of(cfg), samples)
    read = read_predictions(path)
    for number, sample in enumerate(samples):
        assert np.array_equal(read[number]["pred_sem_seg"]["data"], sample["pred_sem_seg"]["data"])
        assert read[number]["img_path"] == "a.png"
    with np.load(path) as arrays:
        assert [arrays[f"map_{number}"].dtype for number in (0, 1)] == [np.uint8, np.uint16]
    out = tmp_path / "drawn" / "segments.png"
    args = [str(CONFIGS / "dwnet-mini_digits-seg.py"), path, "--out", str(out)]
    options = ["--cfg-options", f"test_dataloader.dataset.data_root={digit_scenes}/"]
    draw([*args, "--num", "1", "--size", "128", *options])
    assert _height_and_width(out) > (100, 100)


def test_a_task_has_its_kind_of_file(tmp_path):
    from smallvit.errors import UserError

    sample = dict(pred_label=torch.tensor([0]), pred_score=torch.ones(2))
    for name, told, message in [
        ("p.npz", sample, "expected a .json file for predictions of the task classification"),
        ("p.json", dict(pred_panoptic_seg=0), "pred_panoptic_seg cannot be written as data"),
    ]:
        with pytest.raises(UserError, match=message):
            DumpPredictions(str(tmp_path / name), None).process(None, [told])


class Program:
    """Creates a folder when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def run(path, *options):
    args = [str(CONFIGS / "dwnet-mini_digits.py"), str(path), "--out", f"{path}.png", *options]
    status = run_tool(draw, args)
    assert not os.path.exists(f"{path}.png")
    return status


@pytest.mark.parametrize("name", ["p.pkl", "p.json", "p.npz"])
def test_trusted_pickles_are_read(tmp_path, capsys, name):
    made = tmp_path / "made"
    (tmp_path / name).write_bytes(pickle.dumps([Program(made)]))
    assert run(tmp_path / name) == 1
    assert "is a pickle, which can run arbitrary code" in capsys.readouterr().err
    assert not made.exists()
    assert run(tmp_path / name, "--trust-predictions") == 1
    assert "does not contain predictions" in capsys.readouterr().err
    assert made.exists()


SAMPLE = dict(pred_label=1, gt_label=1, pred_score=[0.5, 0.5])
BOX = dict(image_id=1, category_id=1, bbox=[1, 1, 2, 2], score=0.5)
WHOLE = dict(format="smallvit.predictions", version=1, task="classification", samples=[SAMPLE])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no predictions at"),
        (b"", "does not contain predictions"),
        (b"\xff\xfe", "does not contain predictions"),
        (b"PK\x03\x04 cut", "does not contain predictions"),
        (b"[" * 100000, "does not contain predictions"),
        (dict(accuracy=1.0), "expected the format 'smallvit.predictions'"),
        (dict(WHOLE, version=2), "expected version 1, got 2"),
        (dict(WHOLE, samples=[]), "no samples of the task"),
        (dict(WHOLE, samples=[1]), "a sample is not a dict"),
        (
            dict(WHOLE, samples=[dict(SAMPLE, pred_label="1")]),
            "invalid pred_label in sample 0: '1'",
        ),
        (dict(WHOLE, samples=[dict(SAMPLE, pred_label=-1)]), "invalid pred_label in sample 0: -1"),
        (dict(WHOLE, samples=[dict(SAMPLE, pred_score=1)]), "pred_score of sample 0"),
        (dict(WHOLE, samples=[dict(gt_label=0)]), "no 'pred_label'"),
        ([1], "result 0 is not a dict"),
        ([dict(BOX, bbox=[1, 2])], "bbox or score of result 0"),
        ([dict(BOX, score="1")], "bbox or score of result 0"),
        ([dict(BOX, category_id=None)], "category_id or image_id of result 0"),
        ([dict(BOX, segmentation=dict(size=[1], counts="1"))], "segmentation of result 0"),
        ([dict(score=1)], "no 'bbox'"),
    ],
)
def test_other_files_are_refused(tmp_path, capsys, content, message):
    path = tmp_path / "predictions.json"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        path.write_text(json.dumps(content))
    assert run(path) == 1
    found = capsys.readouterr().err
    assert message in found
    assert "Traceback" not in found


@pytest.mark.parametrize("flags", [["--no-boxes"], ["--score-thr", "0.5"], ["--no-truth"]])
def test_flags_of_other_tasks_are_refused(tmp_path, capsys, flags):
    path = tmp_path / "p.json"
    path.write_text(json.dumps(WHOLE))
    assert run(path, *flags) == 1
    assert f"{flags[0]}: not applicable to the predictions in {path}" in capsys.readouterr().err


def test_predictions_of_other_data_are_refused(detections, tmp_path, digit_scenes, capsys):
    config = str(CONFIGS / "dwnet-mini_digits-det.py")
    options = ["--cfg-options", f"test_dataloader.dataset.data_root={digit_scenes}/"]
    (first, *_) = read_predictions(detections[1])
    huge = dict(first, segmentation=dict(first["segmentation"], size=[1 << 20, 1 << 20]))
    for number, (changed, message) in enumerate(
        [
            (
                dict(first, image_id=10**6),
                "a result for image_id 1000000, which is not in the dataset",
            ),
            (dict(first, category_id=99), "a result for category_id 99"),
            (huge, "a predicted mask has (1048576, 1048576)"),
        ]
    ):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps([changed]))
        args = [config, str(path), "--out", str(tmp_path / "x.png"), "--num", "1000", *options]
        assert run_tool(draw, args) == 1
        assert message in capsys.readouterr().err
    path.write_text(json.dumps(dict(WHOLE, samples=[SAMPLE] * 10**4)))
    assert run_tool(draw, args) == 1
    assert "got 10000" in capsys.readouterr().err
