"""DomainNet dataset, on fixtures with the official lists and with class folders."""

import cv2
import numpy as np
import pytest

from smallvit.datasets import DomainNet
from smallvit.errors import DataError

# A list may number the classes in an order other than Python's sort order.
CLASSES = ("aircraft_carrier", "zigzag", "The_Eiffel_Tower")


def image(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((8, 8, 3), value, np.uint8))


@pytest.fixture
def lists(tmp_path):
    for split, count in (("train", 2), ("test", 1)):
        lines = []
        for label, name in enumerate(CLASSES):
            for number in range(count):
                path = f"sketch/{name}/sketch_{label}_{split}{number}.jpg"
                image(tmp_path / path, 40 * label)
                lines.append(f"{path} {label}\n")
        (tmp_path / f"sketch_{split}.txt").write_text("".join(lines))
    return tmp_path


@pytest.fixture
def folders(tmp_path):
    for split in ("train", "val"):
        for name in CLASSES:
            image(tmp_path / "sketch" / split / name / "1.png")
    return tmp_path


@pytest.mark.parametrize(("split", "labels"), [("train", [0, 0, 1, 1, 2, 2]), ("test", [0, 1, 2])])
def test_lists(lists, split, labels):
    pipeline = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]
    dataset = DomainNet(str(lists), "sketch", split=split, pipeline=pipeline)
    assert dataset.metainfo["classes"] == CLASSES
    assert dataset.get_gt_labels().tolist() == labels
    for sample, label in zip(dataset, labels, strict=True):
        assert sample["inputs"].float().mean() == pytest.approx(40 * label, abs=2)


@pytest.mark.parametrize("rename", [False, True])
def test_folders(folders, rename):
    if rename:
        (folders / "sketch" / "val").rename(folders / "sketch" / "test")
    for split in ("train", "test"):
        dataset = DomainNet(str(folders), "sketch", split=split)
        assert dataset.metainfo["classes"] == tuple(sorted(CLASSES))
        names = [info["img_path"].split("/")[-2] for info in map(dataset.get_data_info, range(3))]
        assert [sorted(CLASSES)[label] for label in dataset.get_gt_labels()] == names
        assert split == "train" or "/train/" not in dataset.get_data_info(0)["img_path"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(domain="clip-art"), "no domain 'clip-art'. Choose one of clipart, infograph"),
        (dict(domain="sketch", split="val"), "no split 'val'. Choose one of train, test"),
    ],
)
def test_unknown_settings(lists, settings, message):
    with pytest.raises(ValueError, match=message):
        DomainNet(str(lists), **settings)


@pytest.mark.parametrize(
    ("split", "line", "message"),
    [
        ("train", "sketch/zigzag/9.jpg 345", r"_train\.txt, line 7: label '345' .*0 to 344"),
        ("train", "sketch/zigzag/9.jpg -1", r"_train\.txt, line 7: label '-1'"),
        ("train", "sketch/zigzag/9.jpg one", r"_train\.txt, line 7: label 'one'"),
        ("train", "sketch/zigzag/9.jpg", r"_train\.txt, line 7: expected an image and its label"),
        ("train", "sketch/zigzag/9.jpg 0", r"line 7: label 0 is 'zigzag', but 'aircraft_carrier'"),
        ("train", "sketch/bus/9.jpg 4", r"_train\.txt: label 3 has no image"),
        ("test", "sketch/bus/9.jpg 3", r"_test\.txt, line 4: label '3' .*0 to 2"),
        (
            "test",
            "sketch/zigzag/9.jpg 0",
            r"line 4: label 0 is 'zigzag', but 'aircraft_carrier' in",
        ),
    ],
)
def test_bad_lines_are_named(lists, split, line, message):
    with open(lists / f"sketch_{split}.txt", "a") as file:
        file.write(line + "\n")
    with pytest.raises(DataError, match=message):
        DomainNet(str(lists), "sketch", split=split)


def test_missing_files_are_named(lists, folders):
    (lists / "sketch_test.txt").unlink()
    with pytest.raises(DataError, match=r"sketch_test\.txt is missing; data_root must be"):
        DomainNet(str(lists), "sketch", split="test")
    with pytest.raises(DataError, match=r"real/train is missing.*real_train\.txt"):
        DomainNet(str(lists), "real")


def test_folders_without_images_or_class_are_named(folders):
    (folders / "sketch/val/bus").mkdir()
    with pytest.raises(DataError, match=r"val/bus: class 'bus' does not exist in .*sketch/train"):
        DomainNet(str(folders), "sketch", split="test")
    (folders / "sketch/train/bus").mkdir()
    with pytest.raises(DataError, match=r"train/bus contains no \.jpg or \.png"):
        DomainNet(str(folders), "sketch")
