from importlib.machinery import ModuleSpec

import numpy as np
import pytest
import torch

from smallvit.datasets import Digits, digits
from smallvit.datasets.digits import SPLITS, digit_indices, load_digit_images

LABELS = load_digit_images()[1]


def test_splits_partition_the_images():
    parts = [digit_indices(LABELS, split) for split in ("train", "val", "test")]
    assert sorted(np.concatenate(parts)) == list(range(1797))
    trainval = digit_indices(LABELS, "trainval")
    assert sorted(np.concatenate(parts[:2])) == trainval.tolist()


def test_splits_are_stratified():
    counts = {split: np.bincount(LABELS[digit_indices(LABELS, split)]) for split in SPLITS}
    assert set(counts["test"]) == {36}
    assert set(counts["val"]) == {19}
    assert counts["train"].sum() == 1247
    assert counts["train"].max() - counts["train"].min() < 10


def test_the_split_never_changes():
    # Results on digits are only comparable while these hold.
    assert digit_indices(LABELS, "test")[:8].tolist() == [11, 23, 24, 25, 28, 32, 33, 36]
    one_shot = digit_indices(LABELS, "train", 1).tolist()
    assert one_shot == [182, 303, 347, 458, 713, 895, 1081, 1266, 1567, 1707]


@pytest.mark.parametrize("split", SPLITS)
def test_subsets_are_nested(split):
    larger = set(digit_indices(LABELS, split))
    for samples in (19, 10, 1):
        subset = digit_indices(LABELS, split, samples)
        assert set(np.bincount(LABELS[subset])) == {samples}
        assert set(subset) <= larger
        larger = set(subset)


def test_train_and_trainval_have_the_same_subsets():
    assert np.array_equal(digit_indices(LABELS, "train", 50), digit_indices(LABELS, "trainval", 50))


@pytest.mark.parametrize("samples", [0, -1, 37])
def test_samples_per_class_out_of_range(samples):
    with pytest.raises(ValueError, match=rf"1 to 36 .*'test'.* got {samples}"):
        Digits(split="test", samples_per_class=samples)


def test_unknown_split():
    with pytest.raises(ValueError, match=r"'validation'.*train, val, trainval, test"):
        Digits(split="validation")


def test_samples():
    digits = Digits(split="test")
    assert len(digits) == 360
    assert "".join(digits.CLASSES) == "0123456789"
    sample = digits[5]
    assert sample["img"].shape == (8, 8, 3)
    assert sample["img"].dtype == np.uint8
    index = int(sample["img_path"].rsplit("/")[-1].removesuffix(".png"))
    assert sample["gt_label"] == LABELS[index]
    assert digits.get_gt_labels().tolist() == LABELS[digit_indices(LABELS, "test")].tolist()
    images = np.stack([sample["img"] for sample in digits])
    assert (images.min(), images.max()) == (0, 255)
    assert "Split: \ttest" in repr(digits)


def test_pipeline_of_mmpretrain():
    pipeline = [dict(type="Resize", scale=32), dict(type="PackInputs")]
    sample = Digits(split="val", pipeline=pipeline)[0]
    assert sample["inputs"].shape == (3, 32, 32)
    assert sample["inputs"].dtype == torch.uint8
    assert sample["data_samples"].img_path.startswith("sklearn-digits/")


@pytest.fixture
def unread():
    """Clear the cache of digits, before and after the test."""
    digits._read.cache_clear()
    yield
    digits._read.cache_clear()


def test_missing_scikit_learn(unread, monkeypatch):
    monkeypatch.setattr(digits, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match="pip install scikit-learn"):
        Digits()


def test_digits_equal_those_of_scikit_learn(unread, monkeypatch, tmp_path):
    images, labels = load_digit_images()
    monkeypatch.setattr(
        digits, "find_spec", lambda name: ModuleSpec(name, None, origin=str(tmp_path / "moved.py"))
    )
    digits._read.cache_clear()
    theirs, classes = load_digit_images()  # through its function, because its file is elsewhere
    assert np.array_equal(images, theirs)
    assert np.array_equal(labels, classes)
