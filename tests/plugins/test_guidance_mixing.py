"""Stored features are mixed in the same way as their images."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmpretrain.models import CutMix, Mixup, RandomBatchAugment, ResizeMix

from smallvit.plugins.locality_guidance.mixing import RecordedMix

SIZE = (12, 16)
AUGMENTS = {
    "mixup": lambda: RandomBatchAugment(Mixup(alpha=0.8)),
    "cutmix": lambda: RandomBatchAugment(CutMix(alpha=1.0)),
    "cutmix, uncorrected": lambda: RandomBatchAugment(CutMix(alpha=1.0, correct_lam=False)),
    "cutmix, minmax": lambda: RandomBatchAugment(CutMix(alpha=1.0, cutmix_minmax=[0.2, 0.9])),
    "either or none": lambda: RandomBatchAugment(
        [Mixup(alpha=0.8), CutMix(alpha=1.0)], probs=[0.4, 0.4]
    ),
    "none": lambda: RandomBatchAugment([Mixup(alpha=0.8)], probs=[0.0]),
    "bare": lambda: CutMix(alpha=1.0),
}


def seed(value):
    random.seed(value)
    np.random.seed(value)
    torch.manual_seed(value)


def batch(count, channels=3, value=0):
    generator = torch.Generator().manual_seed(value)
    images = torch.randn(count, channels, *SIZE, generator=generator)
    return images, F.one_hot(torch.randint(0, 5, (count,), generator=generator), 5)


@pytest.mark.parametrize("name", AUGMENTS)
@settings(max_examples=25)
@given(number=st.integers(0, 2**31), count=st.integers(1, 9))
def test_images_and_labels_are_not_affected(name, number, count):
    augment = AUGMENTS[name]()
    images, scores = batch(count)
    seed(number)
    wanted = augment(images.clone(), scores)
    after = torch.rand(1), np.random.rand(), random.random()

    seed(number)
    original = images.clone()
    found = RecordedMix(augment)(images, scores)
    assert (torch.rand(1), np.random.rand(), random.random()) == after
    for one, other in zip(found, wanted, strict=True):
        assert one.dtype == other.dtype
        assert one.is_contiguous()
        assert torch.equal(one, other)
    assert torch.equal(images, original)


@pytest.mark.parametrize("name", AUGMENTS)
@settings(max_examples=25)
@given(number=st.integers(0, 2**31), count=st.integers(1, 9))
def test_maps_of_the_images_size_are_mixed_as_images(name, number, count):
    """The augmentation applied to the features themselves is the ground truth."""
    augment = AUGMENTS[name]()
    images, scores = batch(count)
    features, _ = batch(count, channels=4, value=1)
    seed(number)
    wanted, _ = augment(features.clone(), scores)

    seed(number)
    recorded = RecordedMix(augment)
    recorded(images, scores)
    found = recorded.last.apply(features)
    # The weight is computed from a probe or a label in single precision.
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)


@settings(max_examples=25)
@given(number=st.integers(0, 2**31))
def test_small_maps_are_mixed_by_area(number):
    """For maps that are constant in each cell, mixing and averaging commute."""
    images, scores = batch(6)
    small = torch.randn(6, 4, 3, 4)
    large = small.repeat_interleave(4, 2).repeat_interleave(4, 3)
    for augment in (CutMix(alpha=1.0), Mixup(alpha=1.0)):
        seed(number)
        wanted, _ = augment(large.clone(), scores)
        seed(number)
        recorded = RecordedMix(augment)
        recorded(images, scores)
        found = recorded.last.apply(small)
        # As above, but 16 values are averaged after mixing instead of one value before.
        torch.testing.assert_close(found, F.avg_pool2d(wanted, 4), rtol=1e-5, atol=1e-5)


def test_something_is_mixed():
    images, scores = batch(6)
    for name in ("mixup", "cutmix"):
        seed(3)
        recorded = RecordedMix(AUGMENTS[name]())
        recorded(images, scores)
        assert not recorded.last.is_identity
        assert len(recorded.last.weights.unique()) == (1 if name == "mixup" else 2)
        assert not torch.equal(recorded.last.apply(images), images)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_features_keep_their_type(dtype):
    images, scores = batch(6)
    recorded = RecordedMix(AUGMENTS["cutmix"]())
    seed(3)
    recorded(images, scores)
    assert recorded.last.apply(torch.randn(6, 4, 5, 7, dtype=dtype)).dtype == dtype


def test_no_augmentation_leaves_features_alone():
    images, scores = batch(4)
    recorded = RecordedMix(AUGMENTS["none"]())
    assert recorded.last is None
    recorded(images, scores)
    assert recorded.last.is_identity
    features = torch.randn(4, 2, 3, 3)
    assert recorded.last.apply(features) is features


def flip(images, scores):
    return images.flip(3), scores


def three(images, scores):
    order = torch.arange(len(images))
    return tuple(
        (each.float() + each.roll(1, 0) + each[(order + 2) % len(images)]) / 3
        for each in (images, scores)
    )


def per_sample(images, scores):
    share = torch.linspace(0.2, 0.8, len(images))
    return tuple(
        share.view(-1, *[1] * (each.ndim - 1)) * each
        + (1 - share.view(-1, *[1] * (each.ndim - 1))) * each.roll(1, 0)
        for each in (images, scores)
    )


@pytest.mark.parametrize(
    ("augment", "name"),
    [
        (RandomBatchAugment(ResizeMix(alpha=1.0, lam_min=0.1, lam_max=0.3)), "ResizeMix"),
        (flip, "function"),
        (three, "function"),
        (per_sample, "function"),
    ],
)
def test_rejects_unsupported_augmentations(augment, name):
    images, scores = batch(6)
    seed(0)
    recorded = RecordedMix(augment)
    with pytest.raises(ValueError, match=f"batch augmentation {name}, .*online teacher"):
        recorded(images, scores)
    assert recorded.last is None
