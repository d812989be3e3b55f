"""Classes of a COCO dataset that are missing in its annotation file or in a different order."""

from mmdet.datasets import CocoDataset as StockCocoDataset

from data_builders import CLASSES, coco_dataset, coco_settings, loaded, usage_of, write_coco
from smallvit.datasets.coco import CocoDataset


def test_a_typo(tmp_path):
    write_coco(tmp_path)
    (fault,) = usage_of(coco_dataset(tmp_path, classes=("circle", "sqaure"))).faults
    assert "train.json has no category 'sqaure'" in str(fault)
    assert "Did you mean 'square'?" in str(fault)


def test_trailing_space(tmp_path):
    write_coco(tmp_path, classes=("circle ", "square"))
    faults = usage_of(coco_dataset(tmp_path)).faults
    assert "has no category 'circle'" in str(faults[0])
    assert "Did you mean 'circle '?" in str(faults[0])


def test_default_classes_of_coco(tmp_path):
    write_coco(tmp_path)
    settings = coco_settings(tmp_path)
    settings.pop("metainfo")
    faults = usage_of(CocoDataset(**settings)).faults
    assert "has no category 'person'" in str(faults[0])
    assert "Categories of the file: circle, square" in str(faults[0])


def test_a_string_instead_of_a_tuple(tmp_path):
    write_coco(tmp_path)
    faults = usage_of(coco_dataset(tmp_path, classes="circle")).faults
    assert "classes='circle' is a string" in str(faults[0])
    assert "Write classes=('circle',)" in str(faults[0])


def test_class_names_must_be_strings(tmp_path):
    write_coco(tmp_path)
    (fault,) = usage_of(coco_dataset(tmp_path, classes=("circle", 2))).faults
    assert "has no category 2, " in str(fault)


def test_duplicate_class_names(tmp_path):
    write_coco(tmp_path)
    faults = usage_of(coco_dataset(tmp_path, classes=("circle", "square", "circle"))).faults
    assert "metainfo.classes contains 'circle' twice" in str(faults[0])


def test_a_subset_of_the_categories(tmp_path):
    write_coco(tmp_path)
    usage = usage_of(coco_dataset(tmp_path, classes=("square",)))
    assert usage.counts == {"square": 4}
    assert usage.faults == usage.warnings == []
    (note,) = usage.notes
    assert "skipped 4 of 8 objects: 4 of a category that is not in classes" in note


def test_a_different_order_than_in_the_file(tmp_path):
    write_coco(tmp_path)
    first = loaded(coco_dataset(tmp_path))
    dataset = coco_dataset(tmp_path, classes=CLASSES[::-1])
    assert [1 - label for _, label, _ in loaded(dataset)] == [label for _, label, _ in first]
    assert usage_of(dataset).faults == []
    stock = StockCocoDataset(**coco_settings(tmp_path, classes=CLASSES[::-1]))
    (fault,) = usage_of(stock).faults
    assert "List the classes in the order of the file" in str(fault)


def test_two_categories_of_one_name(tmp_path):
    write_coco(tmp_path, classes=("circle", "circle"))
    faults = usage_of(coco_dataset(tmp_path, classes=("circle",))).faults
    assert "two categories have the name 'circle'" in str(faults[0])
