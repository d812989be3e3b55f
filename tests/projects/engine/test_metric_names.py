"""Names of an evaluator's metrics, determined before the first evaluation."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.structures import PixelData
from mmpretrain.evaluation import Accuracy
from mmseg.evaluation import IoUMetric

from data_builders import coco_dataset, measure_perfect_boxes, write_coco
from smallvit.datasets.coco import CocoMetric
from smallvit.engine.metric_names import absent_metrics, metric_names


@pytest.mark.parametrize(
    "settings",
    [
        dict(metric="bbox"),
        dict(metric=["bbox", "proposal"], proposal_nums=(1, 10, 100)),
        dict(metric="proposal_fast", proposal_nums=(3, 7)),
        dict(metric="bbox", metric_items=["mAP_50"], classwise=True),
    ],
)
def test_names_of_boxes(settings, tmp_path):
    path = write_coco(tmp_path)
    metric = CocoMetric(str(path), **settings)
    found = measure_perfect_boxes(metric, coco_dataset(tmp_path, test_mode=True))
    assert {f"coco/{name}" for name in metric_names(metric)} == set(found)


@pytest.mark.parametrize("kinds", [["mIoU"], ["mDice"], ["mFscore", "mIoU"]])
def test_names_of_label_maps(kinds):
    metric = IoUMetric(iou_metrics=kinds)
    metric.dataset_meta = dict(classes=("a", "b"))
    labels = torch.arange(16).reshape(1, 4, 4) % 2
    sample = {key: PixelData(data=labels) for key in ("pred_sem_seg", "gt_sem_seg")}
    metric.process({}, [{key: dict(data=value.data) for key, value in sample.items()}])
    assert set(metric_names(metric)) == set(metric.evaluate(1))


def missing(metrics, **hook):
    return list(absent_metrics(SimpleNamespace(metrics=metrics), [SimpleNamespace(**hook)]))


@pytest.mark.parametrize(
    ("metrics", "name"),
    [
        ([Accuracy(topk=(1, 5))], "accuracy/top5"),
        ([CocoMetric(metric=["bbox", "segm"])], "coco/segm_mAP_50"),
        ([CocoMetric(metric="bbox", prefix="mine")], "mine/bbox_mAP"),
        ([IoUMetric()], "mIoU"),
        ([IoUMetric(prefix="maps"), Accuracy()], "maps/mAcc"),
    ],
)
def test_unknown_metrics_in_hooks_are_named(metrics, name):
    assert missing(metrics, save_best=name) == missing(metrics, monitor=name) == []
    assert missing(metrics, key_indicators=["auto"], save_best="auto") == []
    wrong = name.replace("/", "_") if "/" in name else f"val/{name}"
    (text,) = missing(metrics, save_best=wrong)
    assert f"save_best={wrong!r} of SimpleNamespace is not a metric of val_evaluator" in text
    assert name in text
    (text,) = missing(metrics, monitor=wrong)
    assert text.startswith(f"monitor={wrong!r}")


def test_metrics_that_are_not_known():
    assert missing([SimpleNamespace(prefix="x"), Accuracy()], save_best="y") == []
    assert missing([Accuracy(thrs=(0.1, 0.5))], save_best="y") == []
