"""Measured effects of augmentations on a stored image, in the channel order of the dataset."""

import numpy as np
import pytest
from mmengine.config import Config

from config_helpers import read_config
from smallvit.analysis.recipe import pipeline


def config(*steps: dict, dataset: str = "CIFAR10", **others) -> Config:
    loader = dict(dataset=dict(type=dataset, pipeline=list(steps)))
    return Config(dict(default_scope="mmpretrain", model=dict(), train_dataloader=loader, **others))


def test_image_is_the_same_each_time_and_its_channels_differ():
    image = pipeline.stored_image()
    assert (image == pipeline.stored_image()).all()
    assert image.shape == (240, 320, 3)
    assert all(np.abs(image[..., i] - image[..., i - 1].astype(int)).mean() > 10 for i in range(3))


@pytest.mark.parametrize(
    ("name", "order"),
    [("dhvt/dhvt-t-p4_cifar100.py", "RGB"), ("dhvt/dhvt-t_in1k.py", "BGR")],
)
def test_order_of_the_colors(name, order):
    assert pipeline.channel_order(read_config(name)) == order


def test_effects_are_those_of_the_transform():
    found = pipeline.describe_training_images(
        config(
            dict(type="RandomFlip", prob=1.0, direction="horizontal"),
            dict(type="Resize", scale=16),
            dict(type="PackInputs"),
        )
    )
    image = pipeline.stored_image(32, 32).astype(float)
    expected = np.abs(image - image[:, ::-1]).mean()
    assert found["0 RandomFlip"]["mean change"] == pytest.approx(expected, abs=1e-3)
    assert found["0 RandomFlip"]["changed"] == 1
    assert found["1 Resize"]["size"] == "16x16"
    assert len(found) == 2


@pytest.mark.parametrize("channels", [1, 4])
def test_images_have_the_channels_that_the_config_reads(channels):
    steps = [
        dict(type="LoadImageFromFile", color_type="grayscale" if channels == 1 else "unchanged"),
        dict(type="RandomFlip", prob=1.0, direction="horizontal"),
        dict(
            **dict(type="smallvit.RandomErasing", erase_prob=1.0, channel_order="bgr"),
            **dict(mean=[100] * channels, std=[50] * channels),
        ),
    ]
    cfg = config(*steps, data_preprocessor=dict(mean=[0] * channels), dataset="CustomDataset")
    found = pipeline.describe_training_images(cfg, draws=2)
    assert found["1 RandomErasing"]["changed"] == 1
    assert 5 < found["0 RandomFlip"]["mean change"] < 100


def test_an_operation_in_the_wrong_order_of_colors_shows():
    """The same operation on the same image with reversed channels."""
    step = dict(
        type="RandAugment",
        policies=[dict(type="ColorTransform", magnitude_range=(0, 0.9))],
        num_policies=1,
        magnitude_level=9,
    )
    effects = [
        pipeline.describe_training_images(cfg)["0 RandAugment"]["operations"]["ColorTransform"]
        for cfg in (config(step), config(dict(type="LoadImageFromFile"), step))
    ]
    assert effects[0]["applied with"] == effects[1]["applied with"] == 0.5
    assert abs(effects[0]["mean change"] - effects[1]["mean change"]) > 0.5


def test_choices_are_expanded():
    cfg = read_config("dvt/dvt-t2t-12_in1k.py")
    found = pipeline.describe_training_images(cfg, draws=2)
    kinds = [found["0 RandomChoice"][f"choice {i} RandomResizedCrop"] for i in (0, 1)]
    assert [kind["interpolation"] for kind in kinds] == ["bilinear", "bicubic"]
    assert pipeline.describe_test_images(cfg)["0 ResizeEdge"]["size"] == "256x341"


def test_detection_and_segmentation_have_their_boxes_and_maps():
    detector = pipeline.describe_training_images(read_config("dwnet/dwnet-t_coco.py"), draws=2)
    assert "0 LoadAnnotations" in detector
    segmentor = pipeline.describe_training_images(read_config("dwnet/dwnet-t_ade20k.py"), draws=2)
    assert segmentor["2 RandomCrop"]["size"] == "512x512"


def test_probabilities_of_mixing():
    found = pipeline.describe_mixing(read_config("dhvt/dhvt-t-p4_cifar100.py"))
    assert found["Mixup"] == {"alpha": 0.8, "share of batches": 0.5}
    assert found["label smoothing"] == 0.1
