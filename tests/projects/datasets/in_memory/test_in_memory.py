"""Datasets in memory: images equal those of the wrapped dataset, batches those of its pipeline."""

import pickle

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import FUNCTIONS, init_default_scope
from mmengine.runner import Runner
from PIL import Image

from config_helpers import ROOT
from smallvit.datasets.in_memory import PendingImages, batches, collate_in_memory, images
from smallvit.datasets.in_memory.settings import kind_of, outside_memory
from smallvit.engine.guarded_loader import GuardedLoader
from smallvit.errors import DataError, ImageError, UserError
from smallvit.registry import DATASETS, MODELS

LOAD, PACK = dict(type="LoadImageFromFile"), dict(type="PackInputs")
FIT = [dict(type="ResizeEdge", scale=8, edge="short"), dict(type="CenterCrop", crop_size=8)]
CROP = dict(type="RandomCrop", crop_size=8, padding=2)
FLIP = dict(type="RandomFlip", prob=0.5, direction="horizontal")
AUGMENT = dict(
    type="smallvit.RandAugment",
    policy="rand-m9-mstd0.5-inc1",
    channel_order="bgr",
    fill=(120, 110, 100),
)
ERASE = dict(type="smallvit.RandomErasing", channel_order="bgr", mean=(120,) * 3, std=(60,) * 3)
RANDOM = [CROP, FLIP, AUGMENT, ERASE]


@pytest.fixture(autouse=True)
def _said(monkeypatch):
    init_default_scope("mmpretrain")
    monkeypatch.setattr(batches, "_said", set())
    lines = []
    monkeypatch.setattr(batches, "print_log", lambda text, **_: lines.append(text))
    return lines


@pytest.fixture
def said(_said):
    return _said


@pytest.fixture
def folder(tmp_path):
    """Ten images of 12x10 pixels in two classes."""
    draw = np.random.default_rng(0)
    for number in range(10):
        path = tmp_path / "data" / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (12, 10, 3)).astype(np.uint8)).save(path)
    return tmp_path / "data"


def settings(folder, *steps, **others):
    of = dict(type="smallvit.ClassFolders", data_root=str(folder), held_out=0.2)
    return dict(of, pipeline=[LOAD, *FIT, *steps, PACK], **others)


def in_memory(folder, *steps, cache=None, **others):
    found = settings(folder, *steps, **others)
    cache = str(folder.parent / "cache") if cache is None else cache
    return DATASETS.build(dict(found, type="smallvit.InMemory", of=found["type"], cache=cache))


def loader(dataset, seed=(5, 0), **others):
    made = Runner.build_dataloader(
        dict(
            dataset=dataset,
            batch_size=3,
            sampler=dict(type="DefaultSampler", shuffle=True),
            collate_fn=dict(type="smallvit.collate_in_memory"),
            **dict(dict(num_workers=0), **others),
        ),
        seed=1,
    )
    guarded = GuardedLoader(made)
    guarded.batch_sampler.seed = seed
    return guarded


def tensors(batch):
    inputs = batch["inputs"]
    return inputs.changed() if isinstance(inputs, PendingImages) else inputs


def test_fixed_transforms_give_the_pixels_of_the_dataset(folder):
    dataset = in_memory(folder)
    single = DATASETS.build(settings(folder))
    batch = collate_in_memory(dataset.__getitems__(range(len(single))))
    assert len(dataset) == len(single) == 8
    for number, sample in enumerate(batch["data_samples"]):
        wanted = single[number]
        assert torch.equal(batch["inputs"][number], wanted["inputs"])
        assert torch.equal(dataset[number]["inputs"], wanted["inputs"])
        assert torch.equal(sample.gt_label, wanted["data_samples"].gt_label)
        for key in ("img_path", "sample_idx", "ori_shape"):
            assert sample.get(key) == wanted["data_samples"].get(key)
    assert dataset.get_gt_labels().tolist() == single.get_gt_labels().tolist()
    assert dataset.get_cat_ids(5) == single.get_cat_ids(5)
    assert dataset.metainfo == single.metainfo
    assert "in batches" in repr(dataset)


def test_random_transforms_are_those_of_the_pipeline(folder):
    """A single draw determines everything: one crop position, and a flip of each image."""
    steps = [dict(CROP, crop_size=12), dict(FLIP, prob=1.0)]
    batch = collate_in_memory(in_memory(folder, *steps).load_batch([3, 1]))
    single = DATASETS.build(settings(folder, *steps))
    assert torch.equal(tensors(batch), torch.stack([single[i]["inputs"] for i in (3, 1)]))
    assert [sample.flip for sample in batch["data_samples"]] == [True, True]
    assert batch["data_samples"][0].img_shape == (12, 12)


def test_preprocessor_augments_first(folder):
    batch = collate_in_memory(in_memory(folder, *RANDOM).load_batch([0, 1, 2]))
    kwargs = dict(mean=[1.0, 2, 3], std=[4.0, 5, 6], to_rgb=True, num_classes=2)
    ours = MODELS.build(dict(type="smallvit.AugmentingPreprocessor", **kwargs))
    wanted = MODELS.build(dict(type="mmpretrain.ClsDataPreprocessor", **kwargs))
    found = ours(batch, True)["inputs"]
    assert found.dtype == torch.float32
    plain = dict(inputs=tensors(batch), data_samples=batch["data_samples"])
    assert torch.equal(found, wanted(plain, True)["inputs"])
    assert torch.equal(ours(plain, True)["inputs"], found)
    with pytest.raises(UserError, match="AugmentingPreprocessor"):
        wanted(batch, True)


def test_pixels_are_the_same_under_autocast(folder):
    steps = [dict(type="RandomResizedCrop", scale=16, backend="pillow"), *RANDOM[1:]]
    images = in_memory(folder, *steps).load_batch(range(8)).images
    wanted = images.changed()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(images.changed(), wanted)


def test_same_batches_for_any_number_of_workers_and_seed(folder):
    dataset = in_memory(folder, *RANDOM)
    first, workers, other, rank = (
        [tensors(batch) for batch in made]
        for made in (
            loader(dataset),
            loader(dataset, num_workers=2),
            loader(dataset, (6, 0)),
            loader(dataset, (5, 1)),
        )
    )
    assert len(first) == 3
    assert all(map(torch.equal, first, workers))
    assert not any(map(torch.equal, first, other))
    assert not any(map(torch.equal, first, rank))


def test_resuming_within_an_epoch_is_bit_exact(folder):
    dataset = in_memory(folder, *RANDOM)
    whole = [tensors(batch) for batch in loader(dataset)]
    resumed = loader(dataset)
    resumed.batch_sampler.fast_forward(1)
    assert all(map(torch.equal, whole[1:], map(tensors, resumed)))


def test_the_cache_file_is_shared_reused_and_pickled_without_pixels(folder, monkeypatch):
    dataset = in_memory(folder, *RANDOM)
    files = list((folder.parent / "cache").glob("*.images"))
    assert len(files) == 1
    assert not dataset.images.pixels.flags.writeable
    monkeypatch.setattr(images.decoding, "decode", None)  # nothing is decoded again
    again = in_memory(folder, *RANDOM[1:])  # different random transforms, same images
    assert np.array_equal(again.images.pixels, dataset.images.pixels)
    sent = pickle.dumps(again)
    assert len(pickle.loads(sent).load_batch([1, 2])) == 2
    assert again._images is not None


@pytest.mark.parametrize("what", ["changed", "checksum", "cut", "header", "foreign"])
def test_outdated_cache_files_are_rewritten(folder, said, what):
    path = in_memory(folder).get_data_info(2)["img_path"]
    (file,) = (folder.parent / "cache").glob("*.images")
    content = bytearray(file.read_bytes())
    if what == "changed":
        Image.new("RGB", (12, 12), (1, 2, 3)).save(path)
    elif what == "checksum":
        content[100] ^= 1
    elif what == "cut":
        del content[-3:]
    elif what == "header":
        content = content.replace(b'"shape": [8', b'"shape": [9')
    else:
        content = b"something else"
    if what != "changed":
        file.write_bytes(content)
    dataset = in_memory(folder)
    single = DATASETS.build(settings(folder))
    assert all(torch.equal(dataset[i]["inputs"], single[i]["inputs"]) for i in range(8))
    assert len(said) == 1
    assert "writing it again" in said[0]
    reason = dict(changed="have changed", checksum="checksum").get(what, str(file))
    assert reason in said[0]


def test_unwritable_cache_folders(folder, said):
    (folder.parent / "file").write_text("no folder")
    dataset = in_memory(folder, cache=str(folder.parent / "file"))
    assert "Set cache to a writable folder" in said[0]
    assert torch.equal(in_memory(folder, cache=False)[2]["inputs"], dataset[2]["inputs"])
    assert pickle.loads(pickle.dumps(dataset)).images.pixels.shape == (8, 3, 8, 8)


def test_too_large(folder):
    with pytest.raises(UserError, match=r"8 images of 3x8x8 .*1.43e-06 GiB, .*max_gib=1e-06"):
        in_memory(folder, max_gib=1e-6)


def save(folder, name, mode, size, value=7):
    image = np.full((*size[::-1], *((4,) if mode == "RGBA" else ())), value)
    kind = np.uint16 if mode == "I;16" else np.uint8
    Image.fromarray(image.astype(kind)).save(folder / "a" / name)


def test_gray_and_transparent_images_become_colors(folder):
    save(folder, "gray.png", "L", (9, 9)), save(folder, "alpha.png", "RGBA", (9, 9))
    assert in_memory(folder).images.pixels.shape == (10, 3, 8, 8)


@pytest.mark.parametrize(
    ("mode", "color", "named"),
    [
        ("L", "unchanged", "gray.png: .* got 8x8 with 1 channel"),
        ("RGBA", "unchanged", "with 4 channels"),
        ("I;16", "unchanged", "got uint16. Add smallvit.ToColor"),
    ],
)
def test_images_of_other_dtypes_and_channels(folder, mode, color, named):
    save(folder, "gray.png", mode, (9, 9), 7)
    load = dict(LOAD, color_type=color)
    made = dict(settings(folder), pipeline=[load, *FIT, PACK], type="smallvit.InMemory")
    with pytest.raises(DataError, match=named):
        DATASETS.build(dict(made, of="smallvit.ClassFolders", cache=False))


def test_images_of_several_sizes(folder):
    save(folder, "wide.png", "L", (9, 19))
    made = dict(settings(folder), pipeline=[LOAD, FLIP, PACK], type="smallvit.InMemory")
    with pytest.raises(DataError, match=r"wide.png: .* got 19x9.*ResizeEdge and CenterCrop"):
        DATASETS.build(dict(made, of="smallvit.ClassFolders", cache=False))


def test_unreadable_images_are_replaced_by_the_guards(folder):
    from smallvit.datasets.io.images import install

    install("mmpretrain")
    broken = sorted((folder / "a").iterdir())[0]
    broken.write_bytes(broken.read_bytes()[:60])
    for _ in range(2):  # decoded, and read from the cache file
        dataset = in_memory(folder, CROP, held_out=0.01)
        index = next(i for i in range(len(dataset)) if dataset.unreadable(i))
        with pytest.raises(ImageError, match=broken.name):
            dataset.load_batch([index])
    made, bad = loader(dataset), []
    made.replace_bad_samples(bad.extend)
    assert sum(len(batch["data_samples"]) for batch in made) == len(dataset)
    assert [one.path for one in bad] == [str(broken)]


def test_images_skipped_when_loading_count_as_unreadable(folder):
    path = in_memory(folder).get_data_info(1)["img_path"]
    open(path, "wb").close()
    load = dict(LOAD, ignore_empty=True)
    made = dict(settings(folder), pipeline=[load, *FIT, PACK], type="smallvit.InMemory")
    dataset = DATASETS.build(dict(made, of="smallvit.ClassFolders", cache=False))
    assert "LoadImageFromFile returned no image" in dataset.unreadable(1)


def test_transforms_without_batch_version_run_per_image(folder, said):
    step = dict(type="Rotate", angle=10.0, interpolation="nearest")
    dataset = in_memory(folder, dict(FLIP, prob=1.0), step)
    assert dataset.load_batch is None
    assert "interpolation='nearest'" in said[0]
    assert "one by one" in said[0]
    single = DATASETS.build(settings(folder, dict(FLIP, prob=1.0), step))
    batch = next(iter(loader(dataset)))
    assert batch["inputs"].shape == (3, 3, 8, 8)
    np.random.seed(0)
    found = dataset[2]["inputs"]
    np.random.seed(0)
    assert torch.equal(found, single[2]["inputs"])


def test_missing_config_keys_are_named(folder):
    dataset = in_memory(folder, CROP)
    for name in ("default_collate", "pseudo_collate"):
        with pytest.raises(UserError, match="collate_in_memory"):
            FUNCTIONS.get(name)(dataset.load_batch([0, 1]))
    of = dict(type="smallvit.InMemory", of="smallvit.Subset", dataset=settings(folder))
    with pytest.raises((UserError, TypeError), match="pipeline"):
        DATASETS.build(dict(of, samples_per_class=1))


def test_settings_of_the_data_set_itself():
    plain = dict(type="CIFAR10", data_root="data")
    stored = dict(plain, type="smallvit.InMemory", of="CIFAR10", cache=False, max_gib=2)
    assert outside_memory(stored) == outside_memory(plain) == plain
    part = dict(type="smallvit.Subset", dataset=stored, fraction=0.5)
    assert outside_memory(part) == dict(part, dataset=plain)
    assert kind_of(stored) == kind_of(plain) == "CIFAR10"


BASES = ["cifar100_32", "cifar100_deit_32", "cifar10_deit_32", "digits", "folder_32", "folder_64"]


@pytest.mark.parametrize("name", BASES)
def test_base_configs(name, folder):
    """Each base config replaces another in one line, and all its transforms have batch versions."""
    base = ROOT / "configs/_base_/datasets"
    cfg = Config.fromfile(base / f"{name}_in-memory.py")
    other = {"cifar100_32": "cifar100_32_randaug"}.get(name, name)
    plain = Config.fromfile(base / f"{other}.py")
    for key in ("train_dataloader", "val_dataloader", "test_dataloader"):
        made = outside_memory(cfg[key].dataset)
        assert made == plain[key].dataset
    size = 64 if "64" in name else 32
    data = dict(cfg.train_dataloader.dataset)
    if "digits" not in name:
        load = [] if "folder" in name else [LOAD, dict(type="Resize", scale=32)]
        data.update(
            of="smallvit.ClassFolders",
            data_root=str(folder),
            pipeline=[*load, *data["pipeline"]],
            cache=False,
        )
    dataset = DATASETS.build(dict(data, cache=False))
    batch = collate_in_memory(dataset.load_batch([0, 1]))
    assert tensors(batch).shape == (2, 3, size, size)


def test_a_subset_is_loaded_by_the_batch(folder):
    dataset = in_memory(folder, CROP)
    part = DATASETS.build(dict(type="smallvit.Subset", dataset=dataset, samples_per_class=2))
    assert len(part) == 4
    seen = [one.sample_idx for batch in loader(part) for one in batch["data_samples"]]
    assert sorted(seen) == part.indices.tolist()
    plain = DATASETS.build(dict(type="smallvit.Subset", dataset=settings(folder), fraction=1))
    assert plain.load_batch is None
    assert plain[0]["inputs"].shape == (3, 8, 8)


def test_arrays_in_memory_are_not_copied(tmp_path):
    """Tests a dataset that keeps its images in memory itself."""
    steps = [dict(type="Resize", scale=16), CROP, PACK]
    data = dict(split="val", pipeline=steps)
    dataset = DATASETS.build(
        dict(data, type="smallvit.InMemory", of="smallvit.Digits", cache=str(tmp_path))
    )
    assert "img" not in dataset.dataset.get_data_info(0)
    single = DATASETS.build(dict(data, type="smallvit.Digits"))
    wanted = single.pipeline.transforms[0](single.get_data_info(3))["img"]
    assert np.array_equal(dataset.get_data_info(3)["img"], wanted)
    assert dataset[3]["inputs"].shape == (3, 8, 8)
