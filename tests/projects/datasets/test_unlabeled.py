"""Unlabeled images from folders of any layout and from COCO files."""

import json

import cv2
import numpy as np
import pytest

from smallvit.datasets import UnlabeledImages
from smallvit.errors import DataError

NAMES = ("b/2.png", "b/c/1.JPG", "3.png")


@pytest.fixture
def root(tmp_path):
    for name in NAMES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.zeros((4, 4, 3), np.uint8))
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def names(dataset, root):
    return [
        dataset.get_data_info(i)["img_path"].removeprefix(f"{root}/") for i in range(len(dataset))
    ]


def test_all_images_below_the_folder(root):
    dataset = UnlabeledImages(str(root), pipeline=[dict(type="LoadImageFromFile")])
    assert names(dataset, root) == sorted(NAMES)
    assert [dataset.get_data_info(i)["sample_idx"] for i in range(3)] == [0, 1, 2]
    assert dataset[1]["img"].shape == (4, 4, 3)
    assert "gt_label" not in dataset[1]


def test_images_of_a_coco_file(root):
    path = root / "coco.json"
    path.write_text(json.dumps(dict(images=[dict(id=1, file_name="b\\2.png")], annotations=[])))
    assert names(UnlabeledImages(str(root), ann_file=str(path)), root) == ["b/2.png"]


@pytest.mark.parametrize("text", ["[]", '{"images": [{"id": 1}]}', '{"a": 1}'])
def test_invalid_coco_files_are_rejected(root, text):
    (root / "coco.json").write_text(text)
    with pytest.raises(DataError, match=r"coco\.json is not a COCO file"):
        UnlabeledImages(str(root), ann_file=str(root / "coco.json"))


def test_missing_files_are_named(tmp_path):
    with pytest.raises(DataError, match=r"does not exist\. Set data_root"):
        UnlabeledImages(str(tmp_path / "absent"))
    with pytest.raises(DataError, match="contains no image"):
        UnlabeledImages(str(tmp_path))
    with pytest.raises(DataError, match=r"does not exist\. Set ann_file"):
        UnlabeledImages(str(tmp_path), ann_file=str(tmp_path / "absent.json"))
