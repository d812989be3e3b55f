"""Augmentations of every library on gray images and on images with four channels."""

import random

import mmcv
import numpy as np
import pytest
import torch
from mmdet.registry import TRANSFORMS as DETECTION
from mmdet.structures.bbox import HorizontalBoxes
from mmpretrain.registry import TRANSFORMS as CLASSIFICATION
from mmseg.registry import TRANSFORMS as SEGMENTATION

import smallvit.datasets.transforms  # noqa: F401
from smallvit.analysis.recipe.pipeline import stored_image
from smallvit.datasets.io import images
from smallvit.errors import DataError

PADDING = dict(hparams=dict(pad_val=[104] * 3, interpolation="bicubic"))
POLICY = dict(
    policies="timm_increasing", num_policies=2, total_level=10, magnitude_level=9, **PADDING
)
SMALLVIT = dict(policy="rand-m9-mstd0.5-inc1", channel_order="bgr", fill=[99] * 3)
JITTER = dict(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.4)
STEPS = [
    (CLASSIFICATION, dict(type="ColorJitter", **JITTER)),
    (CLASSIFICATION, dict(type="RandAugment", **POLICY)),
    (CLASSIFICATION, dict(type="AutoAugment", policies="imagenet", **PADDING)),
    (CLASSIFICATION, dict(type="RandomErasing", erase_prob=1.0, mode="const")),
    (CLASSIFICATION, dict(type="GaussianBlur", magnitude_range=(0.1, 2.0))),
    (CLASSIFICATION, dict(type="smallvit.RandAugment", **SMALLVIT)),
    (DETECTION, dict(type="PhotoMetricDistortion")),
    (DETECTION, dict(type="YOLOXHSVRandomAug")),
    (DETECTION, dict(type="CutOut", n_holes=2, cutout_shape=(5, 5))),
    (SEGMENTATION, dict(type="PhotoMetricDistortion")),
    (SEGMENTATION, dict(type="RandomCutOut", prob=1.0, n_holes=2, cutout_shape=(5, 5))),
    (SEGMENTATION, dict(type="CLAHE")),
    (CLASSIFICATION, dict(type="RandomGrayscale", prob=0.5, keep_channels=True)),
    (SEGMENTATION, dict(type="RGB2Gray")),
]


@pytest.fixture(scope="module", autouse=True)
def installed():
    for scope in ("mmpretrain", "mmdet", "mmseg"):
        images.install(scope)


def apply(step, image, value):
    random.seed(value), np.random.seed(value), torch.manual_seed(value)
    labels = np.zeros(image.shape[:2], np.uint8)
    sample = dict(img=image.copy(), img_shape=image.shape[:2], gt_seg_map=labels)
    return step(dict(sample, seg_fields=["gt_seg_map"]))["img"]


@pytest.mark.parametrize(("registry", "settings"), STEPS, ids=lambda one: one.get("type"))
def test_all_channels_are_transformed_alike(registry, settings):
    step = registry.build(settings)
    color = stored_image(32, 40)
    other = np.ascontiguousarray(color[::-1, :, 1])
    changed = 0
    for value in range(6):
        expected = apply(step, color, value)
        gray = apply(step, np.repeat(other[..., None], 3, -1), value)[..., 0]
        assert (apply(step, other, value) == gray).all()
        assert (apply(step, other[..., None], value) == gray[..., None]).all()
        four = apply(step, np.dstack([color, other]), value)
        assert (four == np.dstack([expected, gray])).all()
        changed += (four[..., :3] != color).any()
    assert changed


@pytest.mark.parametrize("name", ["Expand", "MinIoURandomCrop"])
def test_boxes_move_once(name):
    step = DETECTION.build(dict(type=name))
    found = []
    for image in (np.full((40, 48), 7, np.uint8), np.full((40, 48, 3), 7, np.uint8)):
        random.seed(1), np.random.seed(1)
        boxes = HorizontalBoxes(torch.tensor([[1, 2, 20, 30.0]]))
        sample = dict(img=image, gt_bboxes=boxes, gt_bboxes_labels=np.zeros(1, int))
        found.append(step(dict(sample, gt_ignore_flags=np.zeros(1, bool))))
    gray, color = found
    assert gray["img"].shape == color["img"].shape[:2] != (40, 48)
    assert (gray["gt_bboxes"].tensor == color["gt_bboxes"].tensor).all()


@pytest.mark.parametrize("shift", [-0.5, -0.31, -0.002])
def test_negative_hue_shifts_wrap_around(shift):
    """Values wrap around in uint8; NumPy 2 refuses to convert negative numbers."""
    image = stored_image(16, 16)
    found = mmcv.adjust_hue(image, shift, backend="pillow")
    steps = int(shift * 255) % 256
    half = min(steps, 127)
    once = mmcv.adjust_hue(image, (half + 0.5) / 255, backend="pillow")
    twice = mmcv.adjust_hue(once, (steps - half + 0.5) / 255, backend="pillow")
    assert np.abs(found.astype(int) - twice).mean() < 3  # two full rotations


@pytest.mark.parametrize(
    ("registry", "settings"),
    [
        (CLASSIFICATION, dict(type="RandomGrayscale", prob=1.0)),
        (SEGMENTATION, dict(type="RGB2Gray", out_channels=1)),
    ],
)
def test_wrong_numbers_of_channel_weights_are_named(registry, settings):
    image = np.zeros((8, 8, 4), np.uint8)
    with pytest.raises(
        DataError, match=f"{settings['type']}: expected 4 values of .*weights, .* got 3"
    ):
        apply(registry.build(settings), image, 0)
    if settings["type"] == "RandomGrayscale":  # which does not change gray images
        assert apply(registry.build(settings), image[..., 0], 0).shape[:2] == (8, 8)
    key = "channel_weights" if settings["type"] == "RandomGrayscale" else "weights"
    found = apply(registry.build({**settings, key: (1.0, 1.0, 1.0, 1.0)}), image, 0)
    assert found.shape[:2] == (8, 8)
