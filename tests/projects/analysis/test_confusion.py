"""Confusion matrices of classes, pixels and objects, and error types of detectors."""

import numpy as np
import pytest
from mmengine.registry import DATASETS, init_default_scope
from pycocotools import mask as coco_mask

from config_helpers import read_config
from smallvit.analysis.annotations import read_sample
from smallvit.analysis.confusion import confusion, matrix_figure
from smallvit.analysis.figures import save_figure
from smallvit.engine.predictions import category_ids, read_predictions, write_label_maps
from smallvit.errors import UserError


def config(name, scenes=None):
    cfg = read_config(f"dwnet/dwnet-mini_digits{name}.py")
    if scenes is not None:
        cfg.test_dataloader.dataset.data_root = f"{scenes}/"
    return cfg


def dataset_of(cfg):
    init_default_scope(cfg.default_scope)
    return DATASETS.build(cfg.test_dataloader.dataset)


def test_classes_are_counted_and_named():
    cfg = config("")
    dataset = dataset_of(cfg)
    truth = [int(dataset.get_data_info(index)["gt_label"]) for index in range(len(dataset))]
    said = [3 if label == 8 else label for label in truth]
    predictions = [
        dict(pred_label=one, gt_label=other, pred_score=[0.1])
        for one, other in zip(said, truth, strict=True)
    ]
    found = confusion(cfg, predictions, "p.json")
    eights = truth.count(8)
    assert found.unit == "images"
    assert found.matrix[8, 3] == eights
    assert found.matrix.sum() == len(truth)
    rows = {row["class"]: row for row in found.rows()}
    assert rows["8"] == {
        **dict(count=eights, recall=0.0, precision=None, f1=0.0, iou=0.0),
        **{"class": "8", "most_taken_for": "3"},
    }
    assert rows["3"]["recall"] == 100
    assert rows["3"]["precision"] == pytest.approx(100 * truth.count(3) / (truth.count(3) + eights))
    with pytest.raises(UserError, match="for the same dataset"):
        confusion(cfg, predictions[:3], "p.json")
    with pytest.raises(UserError, match="got 2 in"):
        confusion(cfg, [dict(predictions[0], gt_label=[1, 2]), *predictions[1:]], "p.json")


def test_pixels_are_counted_but_those_of_no_class(digit_scenes, tmp_path):
    cfg = config("-seg", digit_scenes)
    dataset = dataset_of(cfg)
    maps = [read_sample(dataset, index)[1].label_map for index in range(len(dataset))]
    said = [np.where(labels == 0, 1, labels) for labels in maps]
    predictions = [dict(img_path="a.png", pred_sem_seg=dict(data=labels[None])) for labels in said]
    found = confusion(cfg, predictions, "p.npz")
    assert found.unit == "pixels"
    assert found.matrix[0, 1] == sum((labels == 0).sum() for labels in maps)
    assert found.matrix.sum() == sum((labels < 11).sum() for labels in maps)
    assert found.rows()[0]["most_taken_for"] == found.classes[1]
    path = str(tmp_path / "p.npz")
    write_label_maps(path, [({}, labels.astype(np.uint8)) for labels in said], None)
    stored = confusion(cfg, read_predictions(path), path)
    assert (stored.matrix == found.matrix).all()
    with pytest.raises(UserError, match="predicted label map of image 0"):
        confusion(
            cfg,
            [dict(predictions[0], pred_sem_seg=dict(data=maps[0][None, :3])), *predictions[1:]],
            "p",
        )


@pytest.fixture
def scene(digit_scenes):
    """Config, objects of the first image, and a function that creates a prediction from one."""
    cfg = config("-det", digit_scenes)
    dataset = dataset_of(cfg)
    image, truth = read_sample(dataset, 0)
    identity = dataset.get_data_info(0)["img_id"]

    def result(box, label, score, mask=None):
        x1, y1, x2, y2 = map(float, box)
        made = dict(image_id=identity, bbox=[x1, y1, x2 - x1, y2 - y1], score=score)
        made["category_id"] = category_ids(dataset)[label]
        mask = np.zeros(image.shape[:2], np.uint8) if mask is None else mask.astype(np.uint8)
        encoded = coco_mask.encode(np.asfortranarray(mask))
        return dict(made, segmentation={**encoded, "counts": encoded["counts"].decode()})

    return cfg, truth, result


def test_each_type_of_error_is_classified(scene):
    cfg, truth, result = scene
    box, label = truth.boxes[0], truth.labels[0]
    other = (label + 1) % 10
    width = box[2] - box[0]
    shifted = box + np.array([0.6 * width, 0, 0.6 * width, 0])

    def kinds(*results):
        found = confusion(cfg, results, "p.json").kinds
        return {kind: count for kind, count in found.items() if count and kind != "missed"}

    assert kinds(result(box, label, 0.9)) == {"right": 1}
    assert kinds(result(box, label, 0.9), result(box, label, 0.8)) == {"right": 1, "duplicate": 1}
    assert kinds(result(box, other, 0.9)) == {"class": 1}
    assert kinds(result(box, label, 0.1)) == {}
    assert kinds(result([0, 0, 1, 1], label, 0.9)) == {"background": 1}
    if all(each != label for each in truth.labels[1:]):
        assert kinds(result(shifted, label, 0.9)) in ({"place": 1}, {"class and place": 1})


def test_objects_are_counted_with_the_background(scene):
    cfg, truth, result = scene
    total = confusion(cfg, [], "p.json").kinds["missed"]
    found = confusion(cfg, [result(truth.boxes[0], truth.labels[0], 0.9)], "p.json")
    assert found.classes[-1] == "background"
    assert found.kinds["missed"] == total - 1
    assert found.matrix[truth.labels[0], truth.labels[0]] == 1
    assert found.matrix[:, -1].sum() == total - 1
    assert [row["class"] for row in found.rows()] == found.classes[:-1]


def test_masks_are_compared_when_they_are_asked_for(scene):
    cfg, truth, result = scene
    away = result(truth.boxes[0], truth.labels[0], 0.9)  # correct box, empty mask
    assert confusion(cfg, [away], "p.json").kinds["right"] == 1
    assert confusion(cfg, [away], "p.json", masks=True).kinds["right"] == 0
    exact = result(truth.boxes[0], truth.labels[0], 0.9, truth.masks[0])
    assert confusion(cfg, [exact], "p.json", masks=True).kinds["right"] == 1


@pytest.mark.parametrize("count", [2, 40])
def test_the_matrix_is_drawn(tmp_path, count):
    from smallvit.analysis.confusion import Confusion

    matrix = np.arange(count**2).reshape(count, count)
    names = [f"class ${number}_{{" for number in range(count)]
    save_figure(matrix_figure(Confusion(matrix, names, "images")), str(tmp_path / "m.png"))
    assert (tmp_path / "m.png").stat().st_size > 1000
