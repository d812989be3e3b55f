"""Random erasing as in timm: normally distributed values after normalization, without clipping."""

import random

import numpy as np
import pytest
import timm.data.random_erasing
import torch
from mmengine.registry import TRANSFORMS

from smallvit.analysis.recipe.pipeline import stored_image
from smallvit.datasets.transforms import RandomErasing
from smallvit.errors import DataError, SmallvitError

MEAN, STD = [123.675, 116.28, 103.53], [58.395, 57.12, 57.375]


def build(order: str = "rgb", **others) -> RandomErasing:
    settings = dict(type="smallvit.RandomErasing", channel_order=order, mean=MEAN, std=STD)
    return TRANSFORMS.build(dict(settings, **others))


def erase(step: RandomErasing, image: np.ndarray, order: str) -> np.ndarray:
    """Apply the transform to an RGB image, converted to the channel order of the transform."""
    turned = np.ascontiguousarray(image if order == "rgb" else image[..., ::-1])
    result = step(dict(img=turned))["img"]
    return result if order == "rgb" else result[..., ::-1]


def normalize(image: np.ndarray) -> torch.Tensor:
    values = (image.astype(np.float32) - np.float32(MEAN)) / np.float32(STD)
    return torch.from_numpy(np.ascontiguousarray(values)).permute(2, 0, 1).contiguous()


@pytest.mark.parametrize("order", ["rgb", "bgr"])
@pytest.mark.parametrize("mode", ["pixel", "rand", "const"])
def test_erased_pixels_are_timm_s(order, mode):
    step = build(order, erase_prob=1.0, mode=mode)
    official = timm.data.random_erasing.RandomErasing(1.0, mode=mode, device="cpu")
    image = stored_image(32, 48)
    for value in range(5):
        random.seed(value), torch.manual_seed(value)
        found = normalize(erase(step, image, order))
        random.seed(value), torch.manual_seed(value)
        random.random()  # our transform draws the noise before timm decides whether to erase
        expected = official(normalize(image))
        assert (found - expected).abs().max() < 2e-6
        assert (expected != normalize(image)).any()


def test_noise_has_standard_deviation_one():
    random.seed(0), torch.manual_seed(0)
    step = build(erase_prob=1.0, area_range=(0.9, 0.9), aspect_range=(1.0, 1.0))
    result = step(dict(img=np.zeros((200, 200, 3), np.uint8)))["img"]
    noise = normalize(result)[:, (result != 0).any(-1)]
    assert noise.numel() > 100_000
    assert noise.std().item() == pytest.approx(1, abs=0.01)
    assert result.min() < 0
    assert result.max() > 255


def test_other_pixels_stay_and_the_type_is_one():
    step, image = build(), stored_image(32, 32)
    random.seed(0)
    results = [step(dict(img=image.copy()))["img"] for _ in range(400)]
    assert {result.dtype for result in results} == {np.dtype(np.float32)}
    changed = [(result != image).any() for result in results]
    assert np.mean(changed) == pytest.approx(0.25, abs=0.07)
    for result in results:
        assert (result == image).mean() > 0.6


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("mean", 128),
        ("std", [1]),
        ("channel_order", "gray"),
        ("mode", "noise"),
        ("erase_prob", 2),
        ("area_range", (0.5, 0.1)),
        ("aspect_range", (0, 1)),
    ],
)
def test_wrong_arguments_are_refused(argument, value):
    settings = dict(channel_order="rgb", mean=MEAN, std=STD)
    with pytest.raises(SmallvitError, match=argument):
        RandomErasing(**{**settings, argument: value})


@pytest.mark.parametrize("shape", [(40, 60), (40, 60, 1), (40, 60, 4)])
def test_other_numbers_of_channels(shape):
    count = shape[2] if len(shape) == 3 else 1
    mean, std = [10.0, 90.0, 170.0, 250.0][:count], [1.0] * count
    random.seed(0), torch.manual_seed(0)
    step = build("bgr", mean=mean, std=std, erase_prob=1.0)
    image = step(dict(img=np.zeros(shape, np.uint8)))["img"]
    assert image.shape == shape
    found = [channel[channel != 0].mean() for channel in image.reshape(40, 60, count).T]
    assert found == pytest.approx([10] if count == 1 else [170, 90, 10, 250], abs=0.5)


def test_three_means_for_a_gray_image_are_refused():
    with pytest.raises(DataError, match=r"expected 3 channels as in mean, got 1"):
        build()(dict(img=np.zeros((8, 8), np.uint8)))
