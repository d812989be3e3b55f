"""CocoMetric with a different annotation file than the dataset: rejected before evaluation."""

from types import SimpleNamespace

import pytest

from data_builders import coco_dataset, write_coco
from smallvit.datasets.coco import CocoMetric
from smallvit.datasets.coco_evaluators import evaluator_findings


@pytest.fixture
def dataset(tmp_path):
    write_coco(tmp_path)
    return coco_dataset(tmp_path, test_mode=True)


def findings(dataset, path):
    metric = CocoMetric(str(path), metric="bbox")
    return list(evaluator_findings(metric, [dataset], "val"))


def test_the_same_file_or_a_copy_of_it(dataset, tmp_path):
    assert findings(dataset, dataset.ann_file) == []
    assert findings(dataset, write_coco(tmp_path, name="copy")) == []
    without = CocoMetric(metric="bbox")
    assert list(evaluator_findings(without, [dataset], "val")) == []
    assert list(evaluator_findings(SimpleNamespace(), [dataset], "val")) == []


def of_other_images(content):
    for image in content["images"]:
        image["file_name"] = f"other{image['file_name']}"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(images=2), "lacks 2 of 4 images of"),
        (dict(classes=("circle", "star")), "has no category 'square'"),
        (dict(change=of_other_images), "image 1 is other1.png, but"),
    ],
)
def test_a_different_file(settings, message, dataset, tmp_path):
    path = write_coco(tmp_path, name="other", **settings)
    ((fatal, text), *_) = findings(dataset, path)
    assert fatal
    assert text.startswith("val_evaluator.ann_file")
    assert str(path) in text
    assert message in text


def test_a_subset_of_the_images(dataset, tmp_path):
    part = coco_dataset(tmp_path, test_mode=True, indices=3)
    ((fatal, text),) = findings(part, dataset.ann_file)
    assert not fatal
    assert "has 1 more images than the dataset" in text
