"""Batch transforms, compared with the per-image transforms of our configs for equal draws."""

import random
from functools import partial

import cv2
import numpy as np
import pytest
import torch
from mmcv.transforms import RandomFlip
from mmpretrain.datasets.transforms import ColorJitter as MMPretrainsJitter
from mmpretrain.datasets.transforms import RandomCrop, RandomResizedCrop, Rotate
from PIL import Image
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode

from smallvit.datasets.batch import NoBatchForm, find_form
from smallvit.datasets.batch import rand_augment as batch_rand_augment
from smallvit.datasets.transforms import ColorJitter, RandAugment, RandomErasing
from smallvit.errors import UserError

COUNT, SIZE = 12, 24
FILL = (123.675, 116.28, 103.53)


@pytest.fixture(scope="module")
def images():
    """Images, uint8 (B, H, W, 3): noise, smooth images, a single color, and few values."""
    draw = np.random.default_rng(0)
    found = draw.integers(0, 256, (COUNT, SIZE, SIZE, 3)).astype(np.uint8)
    for row in range(2, COUNT):
        small = Image.fromarray(found[row, :6, :6])
        found[row] = np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC))
    found[3], found[4] = 7, found[4] // 8 + 60
    return found


def to_batch(images):
    images = images if images.ndim == 4 else images[..., None]
    return torch.from_numpy(images).permute(0, 3, 1, 2).contiguous()


def seed(number=0):
    random.seed(number), np.random.seed(number), torch.manual_seed(number)


def one_by_one(transform, images):
    found = [transform(dict(img=image.copy()))["img"] for image in images]
    return to_batch(np.stack(found))


def by_the_batch(transform, images):
    form, batch = find_form(transform), to_batch(images)
    before = batch.clone()
    change = form.draw(len(batch), tuple(batch.shape[1:]))
    found = change(batch)
    assert torch.equal(batch, before)  # the stored images must not change
    assert tuple(found.shape[2:]) == form.size_after(tuple(batch.shape[2:]))
    return found


def assert_close(found, wanted, most, share):
    """Check that at most a fraction ``share`` of the values differ, by at most ``most`` of 255."""
    assert found.shape == wanted.shape
    assert found.dtype == wanted.dtype
    difference = (found.float() - wanted.float()).abs()
    assert difference.max() <= most
    assert (difference > 0).float().mean() <= share


class Drawn(RandomCrop):
    """A crop with given positions for a batch."""

    def rand_crop_params(self, img):
        return (*next(self.places), *self.crop_size)


@pytest.mark.parametrize(
    "settings",
    [
        dict(crop_size=SIZE, padding=4),
        dict(crop_size=(10, 30), padding=(1, 2, 8, 9), pad_val=(1, 2, 3)),
        dict(crop_size=20, padding=(2, 3), pad_val=9),
        dict(crop_size=12),
    ],
)
def test_crop(images, settings):
    form = find_form(RandomCrop(**settings))
    change = form.draw(COUNT, (3, SIZE, SIZE))
    single = Drawn(**settings)
    tops, lefts = (change.values[name].tolist() for name in ("tops", "lefts"))
    single.places = iter(zip(tops, lefts, strict=True))
    assert torch.equal(change(to_batch(images)), one_by_one(single, images))
    assert len(set(tops)) > 2
    assert len(set(lefts)) > 2


def test_crop_covers_all_positions():
    change = find_form(RandomCrop(crop_size=8, padding=1)).draw(500, (3, 8, 8))
    places = set(zip(change.values["tops"].tolist(), change.values["lefts"].tolist(), strict=True))
    assert places == {(top, left) for top in range(3) for left in range(3)}


@pytest.mark.parametrize(
    "settings",
    [
        dict(prob=0.5, direction="horizontal"),
        dict(prob=[0.3, 0.2, 0.3], direction=["horizontal", "vertical", "diagonal"]),
    ],
)
def test_flip(images, settings, monkeypatch):
    form = find_form(RandomFlip(**settings))
    seed()
    change = form.draw(COUNT, (3, SIZE, SIZE))
    results = [{} for _ in range(COUNT)]
    form.note(results, change, (SIZE, SIZE))
    directions = [sample["flip_direction"] for sample in results]
    assert None in directions
    assert len(set(directions)) > 1
    assert [sample["flip"] for sample in results] == [one is not None for one in directions]
    given = iter(directions)
    monkeypatch.setattr(np.random, "choice", lambda *_, **__: next(given))
    assert torch.equal(change(to_batch(images)), one_by_one(RandomFlip(**settings), images))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_rand_augment_operations(images, order, interpolation):
    """Test each of timm's operations with its own magnitudes.

    Colors are bit-exact, except in operations that shift pixels by fractions, where float32 sums
    occasionally differ by 1 of 255.
    """
    settings = dict(channel_order=order, fill=FILL, interpolation=interpolation)
    increasing = RandAugment("rand-m7-mstd3-p1-inc1", **settings)
    decreasing = RandAugment("rand-m7-mstd3-p1", **settings)
    seen = set()
    for one in {step.name: step for step in increasing.transforms + decreasing.transforms}.values():
        if one.operation.aug_fn.__name__ not in {
            *batch_rand_augment.TABLES,
            *batch_rand_augment.COLORS,
            *batch_rand_augment.MATRICES,
        }:
            continue
        seen.add(one.name)
        seed()
        wanted = one_by_one(one.transform, images)
        found = _batch_of(increasing, one.operation, images)
        moves = one.operation.aug_fn.__name__ in batch_rand_augment.MATRICES
        assert_close(found, wanted, *((1, 0.03) if moves else (0, 0)))
        assert one.name in ("AutoContrast", "Equalize") or (found != to_batch(images)).any()
    assert {"ShearX", "Rotate", "Posterize", "PosterizeIncreasing", "SolarizeAdd"} < seen
    assert len(seen) >= 18


def _batch_of(transform, operation, images):
    steps = []
    recorder = batch_rand_augment._Recorder(steps)
    function = operation.aug_fn
    seed()
    operation.aug_fn = partial(recorder.take, function.__name__)
    try:
        for recorder.row in range(len(images)):
            operation(recorder)
    finally:
        operation.aug_fn = function
    assert len(steps) == len(images)
    groups = batch_rand_augment._group(steps, images.shape[1:3])
    plan = [(name, str(i), tuple(tensors)) for i, (name, tensors) in enumerate(groups)]
    tensors = {f"{i}_{k}": v for i, (_, values) in enumerate(groups) for k, v in values.items()}
    rgb = transform.channel_order == "rgb"
    fill = transform.fill if rgb else transform.fill[::-1]
    return batch_rand_augment.augment(
        to_batch(images), plan, fill, transform.channel_order, **tensors
    )


def test_rand_augment_draws_as_timm_does(images):
    """Two operations per image in sequence, drawn and applied with timm's probabilities."""
    transform = RandAugment("rand-m9-mstd0.5-inc1", "rgb", FILL)
    form = find_form(transform)
    seed()
    steps = form.record(len(images))
    again = iter([[step for step in steps if step.row == row] for row in range(len(images))])
    found = by_the_batch_of(form, images)

    def apply(results):
        image = Image.fromarray(results["img"])
        functions = {one.aug_fn.__name__: one for one in form.operations}
        for step in next(again):
            arguments = () if step.argument is None else (step.argument,)
            one = functions[step.name]
            image = one.aug_fn(image, *arguments, **one.kwargs)
        return dict(img=np.array(image))

    assert_close(found, one_by_one(apply, images), 40, 0.03)  # a value near a threshold
    counts = np.bincount([step.row for step in form.record(2000)], minlength=2000)
    assert np.bincount(counts) / 2000 == pytest.approx([0.25, 0.5, 0.25], abs=0.05)


def by_the_batch_of(form, images):
    seed()
    return form.draw(len(images), (3, SIZE, SIZE))(to_batch(images))


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_rand_augment_of_other_channels(images, channels):
    """Gray images are expanded to three equal channels; further channels are treated as gray."""
    transform = RandAugment("rand-m9-mstd0.5-inc1", "bgr", FILL)
    form = find_form(transform)
    more = np.concatenate([images, images[::-1]], -1)[..., :channels]
    seed(3)
    change = form.draw(COUNT, (channels, SIZE, SIZE))
    found = change(to_batch(more))
    assert found.shape == (COUNT, channels, SIZE, SIZE)
    for channel in range(3 if channels > 3 else 0, channels):
        gray = np.repeat(more[..., channel : channel + 1], 3, -1)
        assert torch.equal(found[:, channel], change(to_batch(gray))[:, 0])
    if channels > 3:
        assert torch.equal(found[:, :3], change(to_batch(np.ascontiguousarray(more[..., :3]))))


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_color_jitter(images, order, channels):
    """Bit-exact, in both channel orders."""
    more = np.concatenate([images, images[::-1]], -1)[..., :channels]
    more = more if channels > 1 else more[..., 0]
    settings = dict(brightness=0.4, contrast=(0.5, 1.5), saturation=0.8, hue=0.3)
    transform = ColorJitter(order, **settings)
    seed()
    wanted = one_by_one(transform, more)
    seed()
    found = by_the_batch(transform, more)
    assert torch.equal(found, wanted)
    assert (found != to_batch(more)).any()


def test_color_jitter_is_torchvisions(images):
    from torchvision.transforms import functional

    transform = ColorJitter("rgb", hue=0.3)
    for image in images[:4]:
        seed()
        found = transform(dict(img=image.copy()))["img"]
        seed()
        factor = transform.draw()[0].factor
        assert np.array_equal(found, functional.adjust_hue(Image.fromarray(image), factor))


@pytest.mark.parametrize("settings", [dict(hue=0.6), dict(contrast=-1), dict(saturation=(2, 1))])
def test_color_jitter_refuses(settings):
    with pytest.raises(UserError, match="to be a number"):
        ColorJitter("rgb", **settings)


@pytest.mark.parametrize("mode", ["pixel", "rand", "const"])
@pytest.mark.parametrize("order", ["rgb", "bgr"])
def test_erasing(images, order, mode):
    """Equal draws give the same rectangles and noise, up to the last bits of float32."""
    std = (58.395, 57.12, 57.375)
    transform = RandomErasing(FILL, std, order, erase_prob=0.6, mode=mode)
    seed()
    wanted = one_by_one(transform, images)
    seed()
    found = by_the_batch(transform, images)
    assert found.dtype == wanted.dtype == torch.float32
    torch.testing.assert_close(found, wanted, rtol=1e-6, atol=1e-4)
    touched = (found != to_batch(images)).flatten(1).any(1)
    assert touched.any()
    assert not touched.all()


@pytest.mark.parametrize("backend", ["pillow", "cv2"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("scale", [SIZE, (16, 40)])
def test_resized_crop(images, backend, interpolation, scale):
    """Pillow and OpenCV round intermediate results to integers.

    The difference is occasionally 1 of 255, or 2 where Pillow resizes the other axis first.
    """
    transform = RandomResizedCrop(scale, backend=backend, interpolation=interpolation)
    seed()
    wanted = one_by_one(transform, images)
    seed()
    assert_close(by_the_batch(transform, images), wanted, 2, 0.2)


@pytest.mark.parametrize(
    "settings",
    [dict(pad_val=0), dict(pad_val=(9, 99, 200), scale=0.8), dict(pad_val=9, center=(3, 5))],
)
def test_rotation(images, settings):
    """OpenCV 4 rounds coordinates to 1/32 pixel."""
    transform = Rotate(
        magnitude_range=(0.0, 15.0),
        magnitude_std="inf",
        prob=0.7,
        interpolation="bilinear",
        **settings,
    )
    seed()
    wanted = one_by_one(transform, images)
    seed()
    found = by_the_batch(transform, images)
    exact = int(cv2.__version__.split(".")[0]) > 4
    assert_close(found, wanted, *((1, 0.01) if exact else (12, 0.7)))


ALL = [
    RandomCrop(crop_size=SIZE, padding=4),
    RandomFlip(prob=0.5),
    RandomResizedCrop(SIZE, backend="pillow"),
    RandomResizedCrop(SIZE, backend="cv2", interpolation="bicubic"),
    Rotate(angle=10.0, interpolation="bilinear"),
    RandAugment("rand-m9-mstd0.5-inc1", "bgr", FILL),
    ColorJitter("bgr", 0.4, 0.4, 0.4, 0.1),
    RandomErasing(FILL, FILL, "bgr", erase_prob=0.8),
]


@pytest.mark.skipif(
    torch.__version__.startswith("2.4.") and not torch.cuda.is_available(),
    reason="torch 2.4 needs a GPU for fake tensors on a GPU",
)
@pytest.mark.parametrize("number", range(len(ALL)))
def test_everything_runs_on_the_device_of_the_images(number):
    """Without a GPU, fake tensors track the device. No operation synchronizes with the device."""
    change = find_form(ALL[number]).draw(40, (3, SIZE, SIZE))
    with FakeTensorMode(allow_non_fake_inputs=False) as fake:
        moved = change.map_tensors(lambda tensor: fake.from_tensor(tensor).to("cuda"))
        images = torch.zeros(40, 3, SIZE, SIZE, dtype=torch.uint8, device="cuda")
        found = moved(images)
    assert found.device.type == "cuda"
    assert found.shape == images.shape


@pytest.mark.gpu
@pytest.mark.parametrize("number", range(len(ALL)))
def test_on_a_gpu(images, number):
    seed()
    change = find_form(ALL[number]).draw(COUNT, (3, SIZE, SIZE))
    batch = to_batch(images)
    found = change.map_tensors(Tensor.cuda)(batch.cuda()).cpu()
    assert_close(found, change(batch), 1, 0.02)


@pytest.mark.parametrize(
    ("transform", "named"),
    [
        (RandomCrop(crop_size=40, pad_if_needed=True), "pad_if_needed"),
        (RandomResizedCrop(SIZE, interpolation="lanczos"), "lanczos"),
        (Rotate(angle=5, interpolation="nearest"), "nearest"),
        (RandAugment("rand-m9-t3a", "rgb", FILL), "Gaussian"),
        (MMPretrainsJitter(), "but smallvit.ColorJitter has"),
    ],
)
def test_unsupported_transforms_are_named(transform, named):
    with pytest.raises(NoBatchForm, match=named):
        find_form(transform)
