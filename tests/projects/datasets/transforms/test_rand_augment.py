"""RandAugment: operations are bit-exact with timm in both channel orders."""

import random

import numpy as np
import pytest
from mmengine.registry import TRANSFORMS
from PIL import Image
from timm.data.auto_augment import _RAND_INCREASING_TRANSFORMS, AugmentOp, rand_augment_transform

from config_helpers import LEAVES, flat_steps, read_config
from smallvit.analysis.recipe.pipeline import channel_order, stored_image
from smallvit.datasets.transforms import RandAugment
from smallvit.errors import DataError, SmallvitError

POLICY = "rand-m9-mstd0.5-inc1"
MEAN = [123.675, 116.28, 103.53]
FILL = (124, 116, 104)
ORDERS = ("rgb", "bgr")


def seed(value: int) -> None:
    random.seed(value)
    np.random.seed(value)


def build(order: str, **others) -> RandAugment:
    settings = dict(type="smallvit.RandAugment", policy=POLICY, channel_order=order, fill=MEAN)
    return TRANSFORMS.build(dict(settings, **others))


def in_order(image: np.ndarray, order: str) -> np.ndarray:
    return image if order == "rgb" else np.ascontiguousarray(image[..., ::-1])


def apply_timm(augment, image: np.ndarray) -> np.ndarray:
    try:
        return np.array(augment(Image.fromarray(image)))
    except ValueError:  # Pillow 13 refuses to keep 0 bits; earlier versions returned a black image
        return np.zeros_like(image)


def apply(step, image: np.ndarray, order: str) -> np.ndarray:
    """Apply the transform to an RGB image, converted to the channel order of the transform."""
    return in_order(step(dict(img=in_order(image, order).copy()))["img"], order)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("number", range(15), ids=_RAND_INCREASING_TRANSFORMS)
def test_operation_is_timm_s(number, order):
    name = _RAND_INCREASING_TRANSFORMS[number]
    ours = build(order).transforms[number]
    assert (ours.name, ours.prob) == (name, 0.5)
    ours.prob = 1.0
    hparams = dict(img_mean=FILL, magnitude_std=0.5, interpolation=Image.Resampling.BICUBIC)
    timm = AugmentOp(name, prob=1.0, magnitude=9, hparams=hparams)
    image, changed = stored_image(48, 64), 0
    for value in range(6):
        seed(value)
        expected = apply_timm(timm, image)
        seed(value)
        assert (apply(ours, image, order) == expected).all()
        changed += (expected != image).any()
    assert changed


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("interpolation", ["bicubic", "random"])
def test_policy_is_timm_s(order, interpolation):
    ours = build(order, interpolation=interpolation)
    hparams = dict(img_mean=FILL)
    if interpolation == "bicubic":
        hparams["interpolation"] = Image.Resampling.BICUBIC
    timm = rand_augment_transform(POLICY, hparams)
    image = stored_image(48, 64)
    for value in range(40):
        seed(value)
        expected = apply_timm(timm, image)
        seed(value)
        assert (apply(ours, image, order) == expected).all()


def test_no_bit_left_is_black():
    """Magnitude 10 keeps 0 bits, which Pillow 13 refuses; earlier versions returned black."""
    operation = build("rgb", policy="rand-m10-inc1").transforms[4]
    assert operation.name == "PosterizeIncreasing"
    operation.prob = 1.0
    assert not apply(operation, stored_image(8, 8), "rgb").any()


def test_image_stays_writable_and_of_its_type():
    step = build("rgb")
    for value in range(20):
        seed(value)
        image = step(dict(img=stored_image(16, 16)))["img"]
        assert image.dtype == np.uint8
        assert image.flags.writeable
        assert image.flags.c_contiguous


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("policy", "rand-m9-foo"),
        ("policy", "augmix-m3"),
        ("policy", None),
        ("channel_order", "RGBA"),
        ("fill", [124]),
        ("fill", 124),
        ("interpolation", "lanczos"),
    ],
)
def test_wrong_arguments_are_refused(argument, value):
    with pytest.raises(SmallvitError, match=argument):
        RandAugment(**{**dict(policy=POLICY, channel_order="rgb", fill=MEAN), argument: value})


def test_images_of_other_types_are_refused():
    with pytest.raises(DataError, match="uint8"):
        build("rgb")(dict(img=np.zeros((8, 8, 3), np.float32)))


def test_configs_say_the_order_that_their_images_have():
    found = 0
    for name in LEAVES:
        cfg = read_config(name)
        mean = (cfg.get("data_preprocessor") or {}).get("mean")
        std = (cfg.get("data_preprocessor") or {}).get("std")
        for step in flat_steps(cfg.train_dataloader.dataset.get("pipeline") or []):
            assert step.type not in ("RandAugment", "RandomErasing"), name
            if step.type == "smallvit.RandAugment":
                assert (step.channel_order, step.fill) == (channel_order(cfg).lower(), mean), name
                found += 1
            if step.type == "smallvit.RandomErasing":
                order = channel_order(cfg).lower()
                assert (step.channel_order, step.mean, step.std) == (order, mean, std), name
    assert found > 100
