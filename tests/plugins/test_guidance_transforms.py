"""Stored features follow the crops and flips of their image."""

import pickle
from multiprocessing.reduction import ForkingPickler

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import example, given, settings
from hypothesis import strategies as st
from mmcv.transforms import RandomFlip
from mmengine.dataset import default_collate, pseudo_collate
from mmpretrain.datasets.transforms import RandomCrop, RandomResizedCrop
from mmpretrain.models import ClsDataPreprocessor
from torch.utils.data import DataLoader

from smallvit.datasets import Digits
from smallvit.errors import FeatureStoreError
from smallvit.plugins.locality_guidance.fingerprint import sample_key
from smallvit.plugins.locality_guidance.store import FeatureStore, StoreHeader
from smallvit.plugins.locality_guidance.store_writer import FeatureStoreWriter
from smallvit.plugins.locality_guidance.transforms import (
    GuidedRandomCrop,
    GuidedRandomFlip,
    GuidedRandomResizedCrop,
    LoadTeacherFeatures,
)
from smallvit.plugins.locality_guidance.windows import (
    StageMaps,
    StoredSample,
    Window,
    cut_out,
    stack_maps,
)
from smallvit.registry import TRANSFORMS

#: Grid sizes of the maps of two stages.
SIZES = (16, 8)

PAIRS = [
    (GuidedRandomResizedCrop, RandomResizedCrop, dict(scale=24)),
    (GuidedRandomResizedCrop, RandomResizedCrop, dict(scale=(20, 28), interpolation="bicubic")),
    (GuidedRandomCrop, RandomCrop, dict(crop_size=24)),
    (GuidedRandomCrop, RandomCrop, dict(crop_size=32, padding=4)),
    (GuidedRandomCrop, RandomCrop, dict(crop_size=(30, 34), padding=(5, 3))),
    (GuidedRandomCrop, RandomCrop, dict(crop_size=32, padding=(1, 2, 3, 4))),
    (GuidedRandomCrop, RandomCrop, dict(crop_size=(50, 30), padding=2, pad_if_needed=True)),
    (GuidedRandomCrop, RandomCrop, dict(crop_size=44, pad_if_needed=True, padding_mode="edge")),
    (GuidedRandomCrop, RandomCrop, dict(crop_size=(60, 20))),
    (GuidedRandomFlip, RandomFlip, dict(prob=0.5)),
    (GuidedRandomFlip, RandomFlip, dict(prob=0.8, direction=["horizontal", "vertical"])),
    (GuidedRandomFlip, RandomFlip, dict(prob=[0.5, 0.5], direction=["vertical", "diagonal"])),
]
IDS = [f"{pair[0].__name__}-{number}" for number, pair in enumerate(PAIRS)]


def noise(height=32, width=36):
    return np.random.RandomState(0).randint(0, 255, (height, width, 3), np.uint8)


@pytest.mark.parametrize(("guided", "plain", "kwargs"), PAIRS, ids=IDS)
def test_images_are_those_of_the_parent(guided, plain, kwargs):
    features = StageMaps([torch.rand(3, 8, 8), torch.rand(5, 4, 4)])
    for seed in range(8):
        np.random.seed(seed)
        wanted = plain(**kwargs)(dict(img=noise(), gt_label=1))
        after = np.random.rand()
        for extra in ({}, {"teacher_features": features}):
            np.random.seed(seed)
            found = guided(**kwargs)(dict(img=noise(), gt_label=1, **extra))
            assert np.random.rand() == after
            assert found.keys() == {*wanted, *extra}
            assert np.array_equal(found.pop("img"), wanted["img"])
            found.pop("teacher_features", None)
            assert found == {key: value for key, value in wanted.items() if key != "img"}


def coordinates(height, width):
    """An image whose first two channels are the relative y and x coordinate of each pixel."""
    y, x = np.mgrid[:height, :width]
    return np.stack(((y + 0.5) / height, (x + 0.5) / width, np.ones_like(y)), -1).astype(np.float32)


def small(image, size):
    """Average-pool an image (H, W, 3) to a map (3, size, size)."""
    for axis in (0, 1):
        fine = np.moveaxis(image, axis, 0).repeat(size, 0)
        cells = fine.reshape(size, -1, *fine.shape[1:]).mean(1)
        image = np.moveaxis(cells, 0, axis)
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)


def follow(transform, height, width, seed):
    """Return the transformed features, and features computed from the transformed image."""
    image = coordinates(height, width)
    maps = StageMaps(small(image, size) for size in SIZES)
    np.random.seed(seed)
    results = transform(dict(img=image, teacher_features=maps))
    assert [each.shape for each in results["teacher_features"]] == [each.shape for each in maps]
    return results["teacher_features"], results["img"]


seeds = st.integers(0, 2**31)


@settings(max_examples=60)
@given(height=st.integers(24, 60), width=st.integers(24, 60), seed=seeds)
def test_features_follow_resized_crops(height, width, seed):
    transform = GuidedRandomResizedCrop(scale=48, crop_ratio_range=(0.2, 1.0))
    maps, image = follow(transform, height, width, seed)
    for found in maps:
        close_to(found[:2], small(image, found.shape[1])[:2])


def close_to(found, wanted):
    """Check that valid coordinates agree to half a pixel of the smallest image."""
    # Outside the centers of the border cells, a map is extrapolated by their values. The same holds
    # for the image outside the centers of its border pixels; all other pixels are exact.
    half = 0.5 / found.shape[1]
    torch.testing.assert_close(found, wanted.clamp(half, 1 - half), rtol=0, atol=0.5 / 24)


@settings(max_examples=60)
@given(offset=st.tuples(st.integers(0, 8), st.integers(0, 8)), size=st.integers(16, 24))
def test_crops_are_exact_in_the_interior(offset, size):
    """Coordinates are linear, so bilinear sampling is exact for them."""
    image = coordinates(32, 32)
    top, left = offset
    box = (top / 32, (top + size) / 32, left / 32, (left + size) / 32)
    for cells in SIZES:
        centers = (torch.arange(cells) + 0.5) / cells * size / 32
        found = cut_out(small(image, cells)[None], [Window(*box)])[0]
        # Only single-precision rounding remains: PyTorch's default tolerance.
        half = 0.5 / cells
        wanted_y = (top / 32 + centers).clamp(half, 1 - half)
        wanted_x = (left / 32 + centers).clamp(half, 1 - half)
        torch.testing.assert_close(found[0], wanted_y[:, None].expand(-1, cells))
        torch.testing.assert_close(found[1], wanted_x[None].expand(cells, -1))


@settings(max_examples=80)
@given(
    padding=st.one_of(
        st.integers(0, 6),
        st.tuples(st.integers(0, 6), st.integers(0, 6)),
        st.tuples(*[st.integers(0, 6)] * 4),
    ),
    crop=st.tuples(st.integers(16, 40), st.integers(16, 40)),
    height=st.integers(24, 40),
    width=st.integers(24, 40),
    needed=st.booleans(),
    seed=seeds,
)
def test_features_follow_padded_crops(padding, crop, height, width, needed, seed):
    transform = GuidedRandomCrop(crop, padding=padding, pad_if_needed=needed)
    maps, image = follow(transform, height, width, seed)
    for found in maps:
        wanted = small(image, found.shape[1])
        # The last channel is 1 in the image and 0 in the padding, so it gives the covered fraction
        # of a cell, up to single-precision rounding of its edges (40 pixels, 16 cells).
        torch.testing.assert_close(found[2], wanted[2], rtol=0, atol=1e-4)
        whole = wanted[2] > 0.9999
        close_to(*(torch.where(whole, each[:2], 0.5) for each in (found, wanted)))


@pytest.mark.parametrize("size", [8, 16])
@settings(max_examples=30)
@given(seed=seeds)
def test_shifts_by_whole_cells_are_exact(size, seed):
    """After padding, a crop of the image's size shifts maps without interpolation."""
    step = 32 // size
    feature = torch.from_numpy(np.random.RandomState(seed).rand(3, size, size)).float()
    np.random.seed(seed)
    transform = GuidedRandomCrop(crop_size=32, padding=step)
    while True:
        results = transform(dict(img=noise(32, 32), teacher_features=StageMaps([feature])))
        top, left = (each - step for each in transform._drawn[:2])
        if top % step == 0 and left % step == 0:
            break
    (found,) = results["teacher_features"]
    padded = F.pad(feature, (1, 1, 1, 1))
    rows, columns = top // step + 1, left // step + 1
    wanted = padded[:, rows : rows + size, columns : columns + size]
    # Coordinates are fractions in single precision, accurate to 1e-7 of up to 16 cells.
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_extrapolated_borders_have_no_zeros():
    transform = GuidedRandomCrop(crop_size=40, pad_if_needed=True, padding_mode="edge")
    maps, _ = follow(transform, 32, 32, 0)
    for found in maps:
        torch.testing.assert_close(found[2], torch.ones_like(found[2]))
    with pytest.raises(ValueError, match="padding_mode 'constant' and 'edge', got 'reflect'"):
        GuidedRandomCrop(crop_size=40, pad_if_needed=True, padding_mode="reflect")
    with pytest.raises(ValueError, match="only pad_val=0, got 128"):
        GuidedRandomCrop(crop_size=40, padding=4, pad_val=128)


@settings(max_examples=30)
@given(seed=seeds)
def test_features_follow_flips(seed):
    directions = ["horizontal", "vertical", "diagonal"]
    transform = GuidedRandomFlip(prob=[0.3, 0.3, 0.3], direction=directions)
    maps, image = follow(transform, 32, 32, seed)
    for found in maps:
        # Values are only moved; the means of cells are summed in a different order.
        torch.testing.assert_close(found, small(image, found.shape[1]))


def smeared(pixels, cells, scale):
    """Bound the error of a cell's coverage after resizing a crop of ``pixels`` pixels to ``scale``.

    The features are cut exactly. In the image, bilinear interpolation turns an edge into a ramp of
    one pixel, half of it on each side (area 1/8), and samples it at the centers of the new pixels,
    which are d old pixels wide (d^2/8).
    """
    return (1 + (pixels / scale) ** 2) / 8 * cells / pixels


@settings(max_examples=40)
@given(seed=seeds, factor=st.sampled_from([1, 8]))
@example(seed=7, factor=1)
@example(seed=107, factor=1)
@example(seed=171, factor=1)
@example(seed=98366431, factor=1)
def test_features_follow_sequences_of_transforms(seed, factor):
    """Flips and crops in any order, including padding between them."""
    side, scale = 32 * factor, 40 * factor
    crop = GuidedRandomResizedCrop(scale=scale, crop_ratio_range=(0.3, 1.0))
    padded = GuidedRandomCrop(crop_size=side, padding=4 * factor)
    flip = GuidedRandomFlip(prob=[0.4, 0.4], direction=["horizontal", "vertical"])
    steps = [(crop, flip), (flip, crop, flip), (padded, flip), (flip, padded, crop)][seed % 4]

    def transform(results):
        for step in steps:
            results = step(results)
        return results

    maps, image = follow(transform, side, side, seed)
    for found in maps:
        cells = found.shape[1]
        wanted = small(image, cells)
        # Without resizing after the padding, both are exact up to rounding.
        smear = 1e-4
        if steps[-1] is crop:
            smear += sum(smeared(pixels, cells, scale) for pixels in crop._drawn[2:])
        torch.testing.assert_close(found[2], wanted[2], rtol=0, atol=smear)
        # After resizing, the boundary between image and padding affects more than one cell.
        whole = F.avg_pool2d(wanted[None, 2:3], 3, 1, 1, count_include_pad=False)[0] > 0.9999
        # Outside the centers of border cells and border pixels, values are extrapolated as
        # constants.
        errors = (found[:2] - wanted[:2]).abs() * whole
        assert errors.max() < 0.5 / cells + 0.5 / side


def test_half_precision_is_kept():
    whole = torch.rand(3, 8, 8).half()
    window = Window(0.1, 0.7, -0.2, 0.9, blank=True)
    (found,) = StageMaps([whole], window)
    assert found.dtype == torch.float16
    exact = cut_out(whole[None], [window])[0]
    assert exact.dtype == torch.float32
    torch.testing.assert_close(found.float(), exact, rtol=1e-3, atol=1e-3)


def test_sampling_is_that_of_torch():
    """The whole image and its left half, compared with ``F.interpolate``."""
    maps = torch.rand(2, 2, 8, 8)
    assert torch.equal(cut_out(maps, [Window(), Window()]), maps)
    found = cut_out(maps, [Window(right=0.5), Window()])
    wanted = F.interpolate(maps[:1], (8, 16), mode="bilinear", align_corners=False)
    torch.testing.assert_close(found[0], wanted[0, :, :, :8])
    torch.testing.assert_close(found[1], maps[1])


def test_a_batch_is_cut_as_its_samples_are():
    windows = [
        Window(),
        Window(0.1, 0.7, 0.9, 0.2),
        Window(-0.2, 0.8, -0.1, 0.9, blank=True),
        Window(-0.2, 0.8, -0.1, 0.9),
    ]
    samples = [StageMaps([torch.rand(3, 8, 8), torch.rand(5, 4, 4)], each) for each in windows]
    stacked = stack_maps(samples)
    for stage in range(2):
        for number, sample in enumerate(samples):
            torch.testing.assert_close(stacked[stage][number], sample[stage])
    assert not torch.equal(stacked[0][2], stack_maps([samples[3]])[0][0])
    plain = [list(sample) for sample in samples]
    for one, other in zip(stack_maps(plain), stacked, strict=True):
        torch.testing.assert_close(one, other)


def stored(dataset, path, sizes=(8, 4)):
    """A store in which the maps of a sample contain its index."""
    shapes = [[2 * size, size, size] for size in sizes]
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    keys = np.array([sample_key(info) for info in infos], dtype=np.uint64)
    header = StoreHeader({"length": len(keys)}, {"sha256": ""}, shapes)
    writer = FeatureStoreWriter(path, header, keys)
    numbers = np.arange(len(keys), dtype=np.float32).reshape(-1, 1, 1, 1)
    writer.append([np.tile(numbers, (1, *shape)) for shape in shapes])
    writer.append([np.zeros((1, *shape), np.float32) for shape in shapes])  # maps of a black image
    writer.close()
    return str(path)


def digits(*transforms, **kwargs):
    return Digits(samples_per_class=4, pipeline=list(transforms), **kwargs)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return stored(digits(), tmp_path_factory.mktemp("features") / "store")


def pipeline(store):
    return (
        dict(type="smallvit.LoadTeacherFeatures", store=store),
        dict(type="smallvit.GuidedRandomResizedCrop", scale=16),
        dict(type="smallvit.GuidedRandomFlip", prob=0.5),
        dict(type="PackInputs", algorithm_keys=["teacher_features"]),
    )


@pytest.mark.parametrize("collate", [default_collate, pseudo_collate])
def test_features_read_by_the_guidance_are_those_read_with_the_image(store, collate):
    seen = []
    for path in (None, store):
        np.random.seed(0)
        loader = DataLoader(digits(*pipeline(path)), 40, collate_fn=collate)
        samples = next(iter(loader))["data_samples"]
        seen.append([sample.teacher_features for sample in samples])
    noted, read = seen
    assert all(isinstance(each, StoredSample) for each in noted)
    assert [each.window for each in noted] == [each.window for each in read]
    assert len({each.window for each in noted}) > 30
    for one, other in zip(noted, read, strict=True):
        for mine, theirs in zip(FeatureStore(store).maps(one), other, strict=True):
            assert torch.equal(mine, theirs)
    assert len(ForkingPickler.dumps(noted[0])) < 400  # bytes sent by a worker


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("collate", [default_collate, pseudo_collate])
def test_features_reach_the_preprocessor(store, workers, collate):
    loader = DataLoader(
        digits(*pipeline(store)), 16, shuffle=True, num_workers=workers, collate_fn=collate
    )
    preprocessor = ClsDataPreprocessor(num_classes=10)
    seen = []
    for batch in loader:
        samples = preprocessor(batch, training=True)["data_samples"]
        for sample in samples:
            maps = sample.teacher_features
            assert [tuple(each.shape) for each in maps] == [(16, 8, 8), (8, 4, 4)]
            for each in maps:
                assert isinstance(each, torch.Tensor)
                assert each.dtype == torch.float16
                assert (each == sample.sample_idx).all()
            seen.append(sample.sample_idx)
    assert sorted(seen) == list(range(40))


def test_workers_send_features_by_value():
    """A file per tensor would exceed the limit of open files of a process."""
    window = Window(0.25, 0.5, 0.75, 0.25)
    maps = StageMaps([torch.rand(2, 3, 3).half(), torch.rand(4, 2, 2).half()], window)
    sent = bytes(ForkingPickler.dumps(maps))
    assert b"rebuild_storage" not in sent
    found = pickle.loads(sent)
    assert isinstance(found, StageMaps)
    assert all(torch.equal(one, other) for one, other in zip(found, maps, strict=True))


def test_refuses_another_data_set(store):
    steps = pipeline(store)
    with pytest.raises(FeatureStoreError, match="precompute again for this dataset"):
        digits(*steps, split="val")[0]
    with pytest.raises(FeatureStoreError, match="features of 40 samples"):
        Digits(samples_per_class=5, pipeline=list(steps))[49]
    # A subset in the original order gets the features of its samples.
    assert digits(*steps, indices=7)[6]["data_samples"].sample_idx == 6


def test_rejects_samples_without_an_index(store):
    with pytest.raises(FeatureStoreError, match="indexed by sample_idx"):
        LoadTeacherFeatures(store)(dict(img=noise(), gt_label=0))


def test_names_the_store(store):
    assert repr(LoadTeacherFeatures(store)) == f"LoadTeacherFeatures(store={store!r})"
    assert repr(LoadTeacherFeatures()) == "LoadTeacherFeatures()"
    assert len(FeatureStore(store)) == 40
    with pytest.raises(FeatureStoreError, match="no such store"):
        TRANSFORMS.build(dict(type="smallvit.LoadTeacherFeatures", store=store + "_gone"))


@settings(max_examples=20)
@given(seed=seeds, factor=st.sampled_from([2, 3]))
def test_the_size_of_the_image_does_not_matter(seed, factor):
    """Resizing before the crop does not change the relative coordinates of the crop."""
    feature = torch.rand(2, 8, 8)
    top, left, height, width = np.random.RandomState(seed).randint(1, 16, 4)
    found = []
    for scale in (1, factor):
        transform = Drawn([scale * int(each) for each in (top, left, height, width)], scale=16)
        image = noise(32 * scale, 40 * scale)
        results = transform(dict(img=image, teacher_features=StageMaps([feature])))
        found.append(results["teacher_features"][0])
    # Equal fractions of different numbers of pixels, with different rounding.
    torch.testing.assert_close(*found)


class Drawn(GuidedRandomResizedCrop):
    """A transform that crops a given box."""

    def __init__(self, box, **kwargs):
        super().__init__(**kwargs)
        self._drawn = tuple(box)

    def rand_crop_params(self, img):
        return self._drawn
