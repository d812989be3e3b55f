"""Tiny-ImageNet dataset, on a fixture in the layout of its archive."""

import mmcv
import numpy as np
import pytest

from smallvit.datasets import TinyImageNet
from smallvit.errors import DataError

CLASSES = ("n01443537", "n02124075", "n01629819")


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "tiny-imagenet-200"
    root.mkdir()
    (root / "wnids.txt").write_text("\n".join(CLASSES) + "\n")
    rng = np.random.RandomState(0)

    def image(path):
        mmcv.imwrite(rng.randint(0, 256, (64, 64, 3), np.uint8), str(path))

    for name in CLASSES:
        for index in range(2):
            image(root / "train" / name / "images" / f"{name}_{index}.JPEG")
        (root / "train" / name / f"{name}_boxes.txt").write_text(f"{name}_0.JPEG\t0\t0\t63\t63\n")
    rows = []
    for index, name in enumerate(CLASSES):
        image(root / "val" / "images" / f"val_{index}.JPEG")
        rows.append(f"val_{index}.JPEG\t{name}\t0\t32\t44\t62")
    (root / "val" / "val_annotations.txt").write_text("\n".join(rows) + "\n")
    return root


def test_training_labels_follow_the_sorted_classes(root):
    dataset = TinyImageNet(str(root))
    assert len(dataset) == 6
    assert dataset.metainfo["classes"] == tuple(sorted(CLASSES))
    for info in (dataset.get_data_info(i) for i in range(6)):
        assert dataset.metainfo["classes"][info["gt_label"]] in info["img_path"]


def test_validation_labels_come_from_the_table(root):
    dataset = TinyImageNet(str(root), split="val")
    labels = [dataset.get_data_info(i)["gt_label"] for i in range(3)]
    assert labels == [sorted(CLASSES).index(name) for name in CLASSES]


def test_images_are_read_by_mmpretrains_pipeline(root):
    pipeline = [dict(type="LoadImageFromFile"), dict(type="PackInputs")]
    sample = TinyImageNet(str(root), split="val", pipeline=pipeline)[0]
    assert sample["inputs"].shape == (3, 64, 64)
    assert sample["data_samples"].gt_label.item() == sorted(CLASSES).index(CLASSES[0])


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        ("wnids.txt", r"wnids\.txt is missing; data_root must be"),
        ("val/val_annotations.txt", r"val_annotations\.txt is missing"),
    ],
)
def test_missing_files_are_named(root, broken, message):
    (root / broken).unlink()
    with pytest.raises(DataError, match=message):
        TinyImageNet(str(root), split="val")


def test_an_empty_class_folder_is_named(root):
    for path in (root / "train" / CLASSES[1] / "images").iterdir():
        path.unlink()
    with pytest.raises(DataError, match=rf"{CLASSES[1]}.*contains no \.JPEG file"):
        TinyImageNet(str(root))


def test_a_label_outside_the_classes_is_named_with_its_line(root):
    table = root / "val" / "val_annotations.txt"
    table.write_text(table.read_text() + "val_9.JPEG\tn99999999\t0\t0\t1\t1\n")
    with pytest.raises(DataError, match=r"line 4: class .n99999999. is not in wnids\.txt"):
        TinyImageNet(str(root), split="val")


@pytest.mark.parametrize("name", ["../../wnids.txt", "/etc/passwd", "a/b.JPEG", "..", ""])
def test_paths_outside_of_the_folder_are_rejected(root, name):
    table = root / "val" / "val_annotations.txt"
    table.write_text(table.read_text() + f"{name}\t{CLASSES[0]}\t0\t0\t1\t1\n")
    with pytest.raises(DataError, match=f"line 4: .* got the path {name!r}"):
        TinyImageNet(str(root), split="val")
    if name:
        (root / "wnids.txt").write_text(f"{CLASSES[0]}\n{name}\n")
        with pytest.raises(DataError, match=rf"wnids\.txt: .* got the path {name!r}"):
            TinyImageNet(str(root))


def test_the_unlabeled_split_is_refused(root):
    with pytest.raises(ValueError, match=r"no labeled split 'test'\. Choose one of train, val"):
        TinyImageNet(str(root), split="test")
