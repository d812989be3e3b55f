"""iNaturalist dataset, on a fixture in the layout of its archives."""

import json

import cv2
import numpy as np
import pytest

from smallvit.datasets import INaturalist
from smallvit.errors import DataError

# Ids do not start at 0 and are not sorted; two species have the same name.
CATEGORIES = [
    {"id": 7, "name": "alba", "genus": "Ardea", "class": "Aves", "supercategory": "Aves"},
    {"id": 2, "name": "alba", "genus": "Salix", "class": "Magnoliopsida", "supercategory": "Pl"},
    {"id": 5, "name": "rubra", "genus": "Salix", "class": "Magnoliopsida", "supercategory": "Pl"},
]
OF_IMAGES = (5, 7, 2, 7)


def write(root, split, year=2018, categories=CATEGORIES):
    images, annotations = [], []
    for number, category in enumerate(OF_IMAGES):
        name = f"train_val{year}/X/{category}/{split}{number}.jpg"
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(root / name), np.full((8, 8, 3), 20 * category, np.uint8))
        images.append({"id": 100 + number, "file_name": name, "width": 8, "height": 8})
        annotations.append({"id": number, "image_id": 100 + number, "category_id": category})
    content = dict(images=images, annotations=annotations[::-1], categories=categories)
    (root / f"{split}{year}.json").write_text(json.dumps(content))


def change(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


@pytest.fixture
def root(tmp_path):
    write(tmp_path, "train")
    write(tmp_path, "val")
    return tmp_path


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(
    ("numbering", "classes", "labels"),
    [
        # The annotations have categories 7, 2, 7 and 5, in this order.
        ("appearance", ("alba", "alba", "rubra"), [2, 0, 1, 0]),
        ("id", ("alba", "rubra", "alba"), [1, 2, 0, 2]),
    ],
)
def test_species_are_numbered(root, split, numbering, classes, labels):
    pipeline = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]
    dataset = INaturalist(str(root), split=split, pipeline=pipeline, numbering=numbering)
    assert dataset.metainfo["classes"] == classes
    assert dataset.get_gt_labels().tolist() == labels
    for sample, category in zip(dataset, OF_IMAGES, strict=True):
        assert sample["inputs"].float().mean() == pytest.approx(20 * category, abs=2)


@pytest.mark.parametrize("split", ["train", "val"])
def test_higher_ranks_join_species(root, split):
    dataset = INaturalist(str(root), split=split, category="genus")
    assert dataset.metainfo["classes"] == ("Ardea", "Salix")
    assert dataset.get_gt_labels().tolist() == [1, 0, 1, 0]
    dataset = INaturalist(str(root), split=split, category="genus", numbering="id")
    assert dataset.metainfo["classes"] == ("Salix", "Ardea")


def test_the_training_images_number_the_classes_of_both_splits(root):
    change(root / "val2018.json", lambda content: content["annotations"].reverse())
    change(root / "val2018.json", lambda content: content["categories"].reverse())
    train, val = (INaturalist(str(root), split=split) for split in ("train", "val"))
    assert val.metainfo["classes"] == train.metainfo["classes"]
    assert val.get_gt_labels().tolist() == train.get_gt_labels().tolist()


def test_classes_without_a_training_image_come_last(root):
    def drop(content):
        content["images"].pop(2)
        content["annotations"].pop(1)

    change(root / "train2018.json", drop)
    dataset = INaturalist(str(root), split="val")
    assert dataset.get_gt_labels().tolist() == [1, 0, 2, 0]


def test_val_needs_the_annotations_of_the_training_images(root):
    (root / "train2018.json").unlink()
    with pytest.raises(DataError, match=r"train2018\.json is missing"):
        INaturalist(str(root), split="val")
    INaturalist(str(root), split="val", numbering="id")


def test_ranks_are_looked_up_where_the_annotations_lack_them(tmp_path):
    species = [{"id": entry["id"], "name": str(entry["id"])} for entry in CATEGORIES]
    write(tmp_path, "train", 2019, species)
    with pytest.raises(DataError, match=r"not contain the genus of category 2.*categories\.json"):
        INaturalist(str(tmp_path), year=2019, category="genus")
    genera = {2: "Salix", 5: "Salix", 7: "Ardea"}
    listed = [{"genus": genera.get(number, "other"), "name": "x"} for number in range(8)]
    (tmp_path / "categories.json").write_text(json.dumps(listed))
    dataset = INaturalist(str(tmp_path), year=2019, category="genus")
    names = [dataset.metainfo["classes"][label] for label in dataset.get_gt_labels()]
    assert names == [genera[category] for category in OF_IMAGES]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(year=2017), "year 2017. Choose one of 2018, 2019"),
        (dict(split="test"), "no labeled split 'test'. Choose one of train, val"),
        (dict(category="species"), "no category 'species'. Choose one of name, genus"),
        (dict(numbering="name"), "no numbering by 'name'. Choose one of appearance, id"),
    ],
)
def test_unknown_settings(root, settings, message):
    with pytest.raises(ValueError, match=message):
        INaturalist(str(root), **settings)


def test_missing_annotations(root):
    with pytest.raises(DataError, match=r"train2019\.json is missing; data_root must be"):
        INaturalist(str(root), year=2019)
    (root / "val2018.json").write_text('{"images": []}')
    with pytest.raises(DataError, match=r"val2018\.json has no annotations, categories"):
        INaturalist(str(root), split="val")


def test_a_category_that_is_not_listed(root):
    change(root / "val2018.json", lambda content: content["annotations"][0].update(category_id=9))
    with pytest.raises(
        DataError, match=r"val2018\.json: image .*/val3\.jpg has the unknown category 9"
    ):
        INaturalist(str(root), split="val")


def test_an_image_without_annotation(root):
    change(root / "val2018.json", lambda content: content["annotations"].pop())
    with pytest.raises(DataError, match=r"val2018\.json: image .*/val0\.jpg has no annotation"):
        INaturalist(str(root), split="val")
