"""COCO annotation files: every object is either used for training or counted with a reason."""

from types import SimpleNamespace

import numpy as np
import pytest
from mmdet.datasets import CocoDataset as StockCocoDataset
from mmdet.evaluation import CocoMetric as StockCocoMetric

from data_builders import (
    CLASSES,
    SIZE,
    coco_dataset,
    coco_settings,
    each,
    loaded,
    measure_perfect_boxes,
    usage_of,
    write_coco,
)
from smallvit.datasets.coco import CocoMetric, repair_metric
from smallvit.datasets.coco_checks import check_annotations
from smallvit.errors import DataError


def test_a_clean_file(tmp_path):
    write_coco(tmp_path)
    dataset = coco_dataset(tmp_path)
    usage = usage_of(dataset)
    assert (usage.samples, usage.objects, usage.with_objects) == (4, 8, 4)
    assert usage.counts == {"circle": 4, "square": 4}
    assert usage.faults == usage.warnings == usage.notes == []
    assert list(check_annotations(dataset)) == []
    assert len(loaded(dataset)) == 8


def flat(annotation):
    annotation["segmentation"] = annotation["segmentation"][0]


def as_points(annotation):
    values = annotation["segmentation"][0]
    annotation["segmentation"] = [values[at : at + 2] for at in range(0, len(values), 2)]


def as_polygons_of_points(annotation):
    as_points(annotation)
    annotation["segmentation"] = [annotation["segmentation"]]


def as_text(key):
    return lambda annotation: annotation.update({key: str(annotation[key])})


MENDED = {
    "image_id as text": (as_text("image_id"), "image_id of 8 annotations is text"),
    "category_id as text": (as_text("category_id"), "category_id of 8 annotations is text"),
    "no area": (lambda one: one.pop("area"), "8 annotations have no numeric area"),
    "area that is none": (
        lambda one: one.update(area=float("nan")),
        "8 annotations have no numeric area",
    ),
    "area as text": (as_text("area"), "8 annotations have no numeric area"),
    "no iscrowd": (lambda one: one.pop("iscrowd"), "8 annotations have no iscrowd"),
    "iscrowd as text": (as_text("iscrowd"), "8 annotations have no iscrowd"),
    "flat polygon": (flat, "segmentation of 8 annotations is a flat list"),
    "points": (as_points, "segmentation of 8 annotations is a flat list or a list of points"),
    "polygons of points": (as_polygons_of_points, "segmentation of 8 annotations"),
    "ids from 0": (lambda one: one.update(id=one["id"] - 1), "annotation ids start at 0"),
    "no ids": (lambda one: one.pop("id"), "annotation ids are missing"),
    "ids in each image": (lambda one: one.update(id=one["id"] % 2 + 1), "6 annotation ids occur"),
}


@pytest.mark.parametrize("name", MENDED)
def test_obvious_errors_are_repaired_and_reported(name, tmp_path):
    write_coco(tmp_path)
    right = loaded(coco_dataset(tmp_path))
    change, sentence = MENDED[name]
    write_coco(tmp_path, each(change))
    dataset = coco_dataset(tmp_path)
    assert loaded(dataset) == right
    usage = usage_of(dataset)
    assert usage.faults == []
    assert usage.objects == 8
    assert any(sentence in warning for warning in usage.warnings)
    assert any(sentence in found.reason for found in check_annotations(dataset))


def test_ids_of_images_as_text_too(tmp_path):
    def change(content):
        for image in content["images"]:
            image["id"] = str(image["id"])

    write_coco(tmp_path, change)
    usage = usage_of(coco_dataset(tmp_path))
    assert usage.objects == 8
    assert "the ids of the images are text" in usage.warnings[0]


DROPPED = {
    "area of 0": lambda one: one.update(area=0),
    "polygon with fewer than three points": lambda one: one.update(
        segmentation=[one["segmentation"][0][:4]]
    ),
    "box smaller than a pixel": lambda one: one["bbox"].__setitem__(2, 0),
    "box outside of the image": lambda one: one["bbox"].__setitem__(0, SIZE + 30),
    "marked iscrowd": lambda one: one.update(iscrowd=1),
    "marked 'ignore'": lambda one: one.update(ignore=1),
    "of an image that is not in the file": lambda one: one.update(image_id=99),
    "of a category that is not in the file": lambda one: one.update(category_id=77),
}


@pytest.mark.parametrize("reason", DROPPED)
def test_skipped_objects_are_counted(reason, tmp_path):
    write_coco(tmp_path, lambda content: DROPPED[reason](content["annotations"][2]))
    dataset = coco_dataset(tmp_path)
    usage = usage_of(dataset)
    assert usage.objects == len(loaded(dataset)) == 7
    said = [*usage.notes, *usage.warnings]
    assert any(f"skipped 1 of 8 objects: 1 {reason} (annotation 3 of" in line for line in said)
    assert usage.faults == []


@pytest.mark.parametrize("reason", DROPPED)
def test_datasets_without_objects_are_rejected(reason, tmp_path):
    write_coco(tmp_path, each(DROPPED[reason]))
    dataset = coco_dataset(tmp_path)
    (fault,) = usage_of(dataset).faults
    assert "train.json: no training data, none of 8 annotated objects" in str(fault)
    assert f"8 {reason} (annotation 1 of" in str(fault)
    assert usage_of(dataset, "val").faults == []
    assert any(
        reason in found.reason or "not" in found.reason for found in check_annotations(dataset)
    )


def test_objects_with_several_faults_are_counted_as_mmdet_trains_them(tmp_path):
    choices = np.random.default_rng(0)

    def change(content):
        for annotation in content["annotations"]:
            for name in choices.permutation(list(DROPPED))[: choices.integers(3)]:
                if "polygon" not in name:
                    DROPPED[name](annotation)

    write_coco(tmp_path, change, images=40)
    dataset = coco_dataset(tmp_path, masks=False)
    usage = usage_of(dataset)
    objects = loaded(dataset)
    assert 5 < usage.objects == len(objects) < 60
    labels = [label for _, label, _ in objects]
    assert usage.counts == {name: labels.count(at) for at, name in enumerate(CLASSES)}
    samples = [
        sample["data_samples"].gt_instances for sample in map(dataset.__getitem__, range(40))
    ]
    assert usage.with_objects == sum(len(objects) > 0 for objects in samples)


def test_relative_boxes(tmp_path):
    write_coco(tmp_path, each(lambda one: one.update(bbox=[v / SIZE for v in one["bbox"]])))
    (fault,) = usage_of(coco_dataset(tmp_path)).faults
    assert "all boxes are between 0 and 1" in str(fault)
    assert "Multiply them by the width and height" in str(fault)


def test_boxes_as_corners(tmp_path):
    def corners(one):
        x, y, width, height = one["bbox"]
        one["bbox"] = [x, y, x + width, y + height]

    write_coco(tmp_path, each(corners))
    (fault,) = usage_of(coco_dataset(tmp_path)).faults
    assert "none would as x1, y1, x2, y2" in str(fault)


def test_category_ids_from_0_where_the_categories_begin_at_1(tmp_path):
    write_coco(tmp_path, each(lambda one: one.update(category_id=one["category_id"] - 1)))
    (fault,) = usage_of(coco_dataset(tmp_path)).faults
    assert "are 0, 1, those of the categories 1, 2" in str(fault)


@pytest.mark.parametrize(
    "mask",
    [
        lambda one: one.pop("segmentation"),
        lambda one: one.update(segmentation=[]),
        lambda one: one.update(segmentation=dict(size=[7, 9], counts=[63])),
        lambda one: one.update(segmentation=[[v / SIZE for v in one["segmentation"][0]]]),
        lambda one: one.update(segmentation=dict(size=[SIZE, SIZE])),
        lambda one: one.update(segmentation=dict(size=[SIZE, SIZE], counts=[5, 7])),
        lambda one: one.update(segmentation=[[str(v) for v in one["segmentation"][0]]]),
        lambda one: one["segmentation"].append(3),
        lambda one: one.update(segmentation=[None]),
        lambda one: one.update(segmentation="a file"),
    ],
    ids=[
        *("none", "empty", "of another size", "in parts", "no counts", "few counts", "texts"),
        *("a number", "null", "a name"),
    ],
)
def test_a_mask_that_the_pipeline_needs(mask, tmp_path):
    write_coco(tmp_path, lambda content: mask(content["annotations"][0]))
    (fault,) = usage_of(coco_dataset(tmp_path), "val").faults
    assert "train.json: 1 of 8 objects: " in str(fault)
    assert "(annotation 1 of 1.png)" in str(fault)
    assert "train a detector without masks" in str(fault)
    assert usage_of(coco_dataset(tmp_path, masks=False)).faults == []


def test_rle_masks_where_only_polygons_are_supported(tmp_path):
    from pycocotools import mask

    def encode(one):
        found = mask.merge(mask.frPyObjects(one["segmentation"], SIZE, SIZE))
        one["segmentation"] = dict(size=[SIZE, SIZE], counts=found["counts"].decode())

    write_coco(tmp_path, each(encode))
    dataset = coco_dataset(tmp_path)
    assert usage_of(dataset).faults == []
    assert len(loaded(dataset)) == 8
    settings = coco_settings(tmp_path)
    settings["pipeline"][1]["poly2mask"] = False
    from smallvit.datasets.coco import CocoDataset

    (fault,) = usage_of(CocoDataset(**settings)).faults
    assert "poly2mask=False supports only polygons" in str(fault)


@pytest.mark.parametrize("shift", [-1, 1])
def test_off_by_one_image_ids(shift, tmp_path):
    """Otherwise six of eight objects would be assigned to the previous image."""
    write_coco(tmp_path, each(lambda one: one.update(image_id=one["image_id"] + shift)))
    (fault,) = usage_of(coco_dataset(tmp_path)).faults
    assert "those of the images 1, 2, 3, 4. All are one too" in str(fault)
    assert "assigns each object to another image" in str(fault)


def test_a_file_that_is_listed_twice(tmp_path):
    write_coco(tmp_path, lambda content: content["images"][3].update(file_name="1.png"))
    (warning,) = usage_of(coco_dataset(tmp_path)).warnings
    assert "2 images have the file_name 1.png" in warning


def test_images_that_the_file_does_not_list(tmp_path):
    write_coco(tmp_path, lambda content: content["images"].pop())
    usage = usage_of(coco_dataset(tmp_path))
    assert any(
        "1 images that are not in the annotation file" in note and "4.png" in note
        for note in usage.notes
    )


def test_two_images_of_one_id(tmp_path):
    write_coco(tmp_path, lambda content: content["images"][1].update(id=1))
    faults = usage_of(coco_dataset(tmp_path)).faults
    assert "1.png and 2.png have the same image id 1" in str(faults[0])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("images"), "has no list 'images'"),
        (lambda c: c.pop("categories"), "has no list 'categories'"),
        (lambda c: c.update(annotations={}), "'annotations' to be a list, got dict"),
        (lambda c: c.update(annotations=None), "'annotations' to be a list, got NoneType"),
        (lambda c: c["annotations"][1].pop("bbox"), "annotation 2 has no 'bbox'"),
        (
            lambda c: c["annotations"][1].update(bbox=[1, 2, 3]),
            r"the bbox of annotation 2 .*got \[1",
        ),
        (lambda c: c["annotations"][1].update(bbox=[1, 2, None, 4]), "the bbox of annotation 2"),
        (lambda c: c["images"][0].pop("width"), "image 1 has no 'width'"),
        (lambda c: c["images"][0].update(height="64"), "width 64 and height '64'"),
        (lambda c: c["categories"][0].pop("name"), "category 1 has no 'name'"),
        (
            lambda c: c["annotations"][1].update(image_id=[1]),
            r"image_id of annotations .*got \[1\]",
        ),
        (lambda c: c["images"][1].update(id={}), "id of images .*got {}"),
        (lambda c: c["images"].clear(), "lists no image"),
        (lambda c: c["images"][1].update(file_name=7), "file_name of image 2 .*got 7"),
        (lambda c: c["categories"][1].update(name=2), "name of category 2 .*got 2"),
    ],
)
def test_ambiguous_errors_are_named(change, message, tmp_path):
    write_coco(tmp_path, change)
    with pytest.raises(DataError, match=message) as caught:
        coco_dataset(tmp_path)
    assert str(tmp_path / "train.json") in str(caught.value)


@pytest.mark.parametrize("content", ["[]", '{"images": [', ""])
def test_a_file_that_is_not_coco_s(content, tmp_path):
    write_coco(tmp_path)
    (tmp_path / "train.json").write_text(content)
    with pytest.raises(DataError, match=r"train\.json (has no list 'images'|is not valid JSON)"):
        coco_dataset(tmp_path)


def test_byte_order_mark(tmp_path):
    path = write_coco(tmp_path)
    path.write_text(path.read_text(), encoding="utf-8-sig")
    assert usage_of(coco_dataset(tmp_path)).objects == 8


def test_the_original_dataset_class_is_checked_too(tmp_path):
    """In a notebook or in tools of the libraries, files are not repaired but rejected."""
    write_coco(tmp_path, each(as_text("image_id")))
    (fault,) = usage_of(StockCocoDataset(**coco_settings(tmp_path))).faults
    assert "nothing" in str(fault) or "not in MMDetection's CocoDataset" in str(fault)
    write_coco(tmp_path, each(lambda one: one.update(id=one["id"] - 1)))
    usage = usage_of(StockCocoDataset(**coco_settings(tmp_path)))
    assert usage.faults == []
    assert usage.objects == 8


def predict(metric, dataset):
    return measure_perfect_boxes(metric, dataset)["coco/bbox_mAP_50"]


@pytest.mark.parametrize("name", [*MENDED, "as it is"])
def test_perfect_boxes_are_measured_as_perfect(name, tmp_path):
    path = write_coco(tmp_path, each(MENDED[name][0]) if name in MENDED else None)
    dataset = coco_dataset(tmp_path, test_mode=True)
    assert predict(CocoMetric(str(path), metric="bbox"), dataset) == 1.0


def test_already_built_metrics_are_checked(tmp_path):
    path = write_coco(tmp_path, each(MENDED["ids from 0"][0]))
    dataset = coco_dataset(tmp_path, test_mode=True)
    assert predict(StockCocoMetric(str(path), metric="bbox"), dataset) < 0.9
    metric = StockCocoMetric(str(path), metric="bbox")
    assert "start at 0" in str(repair_metric(metric)[0])
    assert predict(metric, dataset) == 1.0
    assert repair_metric(SimpleNamespace()) == []


def test_classes_in_another_order_are_measured_by_name(tmp_path):
    path = write_coco(tmp_path)
    dataset = coco_dataset(tmp_path, classes=CLASSES[::-1], test_mode=True)
    assert predict(CocoMetric(str(path), metric="bbox"), dataset) == 1.0
    labels = np.array([label for *_, label, _ in loaded(coco_dataset(tmp_path))])
    assert set(labels.tolist()) == {0, 1}
