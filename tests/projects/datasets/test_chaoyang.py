"""Chaoyang dataset, on a fixture in the layout of its archive."""

import json

import cv2
import numpy as np
import pytest

from smallvit.datasets import Chaoyang
from smallvit.errors import DataError


@pytest.fixture
def root(tmp_path):
    for split, labels in (("train", (2, 0, 3)), ("test", (1, 0))):
        (tmp_path / split).mkdir()
        entries = []
        for number, label in enumerate(labels):
            name = f"{split}/5358-IMG001x00{number}-{label}.JPG"
            cv2.imwrite(str(tmp_path / name), np.full((16, 16, 3), 60 * label, np.uint8))
            # The archive also contains the labels of the three pathologists.
            entries.append({"name": name, "label": label, "label_A": 0})
        (tmp_path / f"{split}.json").write_text(json.dumps(entries))
    return tmp_path


@pytest.mark.parametrize(("split", "labels"), [("train", [2, 0, 3]), ("test", [1, 0])])
def test_images_and_labels(root, split, labels):
    pipeline = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]
    dataset = Chaoyang(str(root), split=split, pipeline=pipeline)
    assert dataset.get_gt_labels().tolist() == labels
    assert dataset.metainfo["classes"][2] == "adenocarcinoma"
    for sample, label in zip(dataset, labels, strict=True):
        assert sample["inputs"].float().mean() == pytest.approx(60 * label, abs=2)


def test_unknown_split(root):
    with pytest.raises(ValueError, match=r"no split 'val'\. Choose one of train, test"):
        Chaoyang(str(root), split="val")


def test_missing_annotations(root):
    (root / "test.json").unlink()
    with pytest.raises(DataError, match=r"test\.json is missing; data_root must be"):
        Chaoyang(str(root), split="test")


@pytest.mark.parametrize("label", [4, -1, "adenoma", 1.5, None])
def test_a_label_outside_the_classes(root, label):
    path = root / "train.json"
    entries = json.loads(path.read_text())
    entries[1]["label"] = label
    path.write_text(json.dumps(entries))
    with pytest.raises(DataError, match=rf"train\.json, entry 1: label {label!r} .*0 to 3"):
        Chaoyang(str(root))


def test_an_entry_without_a_label(root):
    (root / "train.json").write_text('[{"name": "train/a.JPG"}]')
    with pytest.raises(DataError, match=r"train\.json, entry 0: expected a name and a label"):
        Chaoyang(str(root))


def test_truncated_downloads_are_named(root):
    (root / "train.json").write_text('[{"name": "tra')
    with pytest.raises(DataError, match=r"train\.json is not valid JSON.*download it again"):
        Chaoyang(str(root))
