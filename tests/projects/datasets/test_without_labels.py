"""Concatenation of datasets without labels, excluding images used for evaluation."""

import shutil

import cv2
import numpy as np
import pytest

from smallvit.datasets import WithoutLabels
from smallvit.errors import DataError


@pytest.fixture
def root(tmp_path):
    """Four training images of two classes, two test images, and a folder with further images."""
    for number, name in enumerate(("train/a/0", "train/a/1", "train/b/2", "train/b/3", "val/a/4")):
        path = tmp_path / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), np.full((4, 4, 3), number, np.uint8))
    (tmp_path / "val/b").mkdir()
    shutil.copy(tmp_path / "val/a/4.png", tmp_path / "val/b/5.png")
    shutil.copytree(tmp_path / "train", tmp_path / "more")
    shutil.copy(tmp_path / "val/a/4.png", tmp_path / "more/copy.png")
    cv2.imwrite(str(tmp_path / "more/new.png"), np.full((4, 4, 3), 9, np.uint8))
    return tmp_path


def folders(root, split):
    return dict(type="smallvit.ClassFolders", data_root=str(root), split=split)


def shade(sample):
    return int(sample["img"][0, 0, 0])


def test_labels_are_dropped_and_samples_are_renumbered(root):
    subset = dict(type="smallvit.Subset", dataset=folders(root, "train"), samples_per_class=1)
    more = dict(type="smallvit.UnlabeledImages", data_root=str(root / "more"))
    dataset = WithoutLabels([subset, more], pipeline=[dict(type="LoadImageFromFile")])
    samples = [dataset[index] for index in range(len(dataset))]
    assert [sample["sample_idx"] for sample in samples] == list(range(2 + 6))
    assert not any("gt_label" in sample for sample in samples)
    assert sorted(map(shade, samples[2:])) == [0, 1, 2, 3, 4, 9]


def test_an_image_that_two_data_sets_have_counts_once(root):
    train = dict(type="smallvit.UnlabeledImages", data_root=str(root / "train"))
    assert len(WithoutLabels([folders(root, "train"), train])) == 4


def test_evaluation_images_and_their_copies_are_excluded(root):
    every = dict(type="smallvit.UnlabeledImages", data_root=str(root))
    pipeline = [dict(type="LoadImageFromFile")]
    without = [folders(root, "val")]
    dataset = WithoutLabels([folders(root, "train"), every], without, pipeline)
    shades = [shade(dataset[index]) for index in range(len(dataset))]
    assert sorted(shades) == [0, 0, 1, 1, 2, 2, 3, 3, 9]


def test_excluding_all_images(root):
    val = dict(type="smallvit.UnlabeledImages", data_root=str(root / "val"))
    empty = dict(type="smallvit.UnlabeledImages", data_root=str(root / "val/a"))
    # If nothing would be left, the images of the first dataset are kept.
    assert len(WithoutLabels([val], [folders(root, "val")])) == 2
    joined = WithoutLabels([empty, val], [folders(root, "val")])
    assert len(joined) == 1
    with pytest.raises(DataError, match="no image"):
        WithoutLabels([])
