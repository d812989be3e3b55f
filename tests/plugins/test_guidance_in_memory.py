"""Stored features follow the crops and flips of batch augmentations."""

import numpy as np
import pytest
from mmengine.registry import init_default_scope

from smallvit.datasets.batch import find_form
from smallvit.plugins.locality_guidance.fingerprint import sample_key
from smallvit.plugins.locality_guidance.store import StoreHeader
from smallvit.plugins.locality_guidance.store_writer import FeatureStoreWriter
from smallvit.plugins.locality_guidance.windows import StageMaps, StoredSample, Window
from smallvit.registry import DATASETS, TRANSFORMS

SIZE = 16
GUIDED = {
    "crop": dict(type="smallvit.GuidedRandomCrop", crop_size=(14, 20), padding=(1, 2, 3, 4)),
    "resized crop": dict(type="smallvit.GuidedRandomResizedCrop", scale=12, backend="pillow"),
    "flip": dict(
        type="smallvit.GuidedRandomFlip",
        prob=[0.3, 0.2, 0.3],
        direction=["horizontal", "vertical", "diagonal"],
    ),
}


@pytest.fixture(autouse=True)
def _scope():
    init_default_scope("mmpretrain")


def drawn_for(change, row):
    """Return the random draws of NumPy and the transform that reproduce a row of a batch."""
    if "tops" in change.values:
        return [int(change.values[name][row]) for name in ("tops", "lefts")]
    found = [name for name, rows in change.values.items() if row in rows.tolist()]
    return found or [None]


@pytest.mark.parametrize("name", ["crop", "flip"])
def test_windows_are_those_of_the_transform(name, monkeypatch):
    transform = TRANSFORMS.build(GUIDED[name])
    form = find_form(transform)
    np.random.seed(0)
    change = form.draw(12, (3, SIZE, SIZE))
    results = [dict(teacher_features=StoredSample(i, i)) for i in range(12)]
    form.note(results, change, (SIZE, SIZE))
    assert len({sample["teacher_features"].window for sample in results}) > 2
    for row, sample in enumerate(results):
        draws = iter(drawn_for(change, row))
        kind = "randint" if name == "crop" else "choice"
        with monkeypatch.context() as patch:
            patch.setattr(np.random, kind, lambda *_, draws=draws, **__: next(draws))
            image = np.zeros((SIZE, SIZE, 3), np.uint8)
            wanted = transform(dict(img=image, teacher_features=StoredSample(row, row)))
        assert sample["teacher_features"] == wanted["teacher_features"]


def test_windows_of_resized_crops():
    """The transform draws them itself, image by image."""
    transform = TRANSFORMS.build(GUIDED["resized crop"])
    form = find_form(transform)
    np.random.seed(0)
    change = form.draw(6, (3, SIZE, SIZE))
    found = [dict(teacher_features=StoredSample(i, i)) for i in range(6)]
    form.note(found, change, (SIZE, SIZE))
    np.random.seed(0)
    for row, sample in enumerate(found):
        image = np.zeros((SIZE, SIZE, 3), np.uint8)
        wanted = transform(dict(img=image, teacher_features=StoredSample(row, row)))
        assert sample["teacher_features"] == wanted["teacher_features"]
        assert sample["teacher_features"].window != Window()


def settings(store=None):
    pipeline = [
        dict(type="smallvit.LoadTeacherFeatures", store=store),
        dict(type="Resize", scale=SIZE),
        dict(type="smallvit.GuidedRandomCrop", crop_size=SIZE, padding=2),
        dict(type="smallvit.GuidedRandomFlip", prob=0.5),
        dict(type="PackInputs", algorithm_keys=["teacher_features"]),
    ]
    return dict(split="val", pipeline=pipeline)


def test_samples_are_those_of_the_stored_images(tmp_path):
    """Keys are computed from the image before resizing, as in the store."""
    plain = DATASETS.build(dict(settings(), type="smallvit.Digits"))
    keys = [sample_key(plain.get_data_info(i)) for i in range(len(plain))]
    dataset = DATASETS.build(
        dict(settings(), type="smallvit.InMemory", of="smallvit.Digits", cache=str(tmp_path))
    )
    batch = dataset.load_batch([4, 7, 4])
    for index, sample in zip((4, 7, 4), batch.samples, strict=True):
        assert sample.teacher_features.key == keys[index]
        assert sample.teacher_features.index == index
        mirrored = sample.teacher_features.window.left > sample.teacher_features.window.right
        assert sample.flip == mirrored
    assert dataset[7]["data_samples"].teacher_features.key == keys[7]


def test_features_that_the_loader_reads(tmp_path):
    plain = DATASETS.build(dict(settings(), type="smallvit.Digits"))
    keys = np.array([sample_key(plain.get_data_info(i)) for i in range(len(plain))], np.uint64)
    path = str(tmp_path / "store")
    writer = FeatureStoreWriter(
        path, StoreHeader({"length": len(keys)}, {"sha256": ""}, [[1, 2, 2]]), keys
    )
    numbers = np.arange(len(keys) + 1, dtype=np.float32)[:, None, None, None]
    writer.append([np.tile(numbers, (1, 1, 2, 2))])
    writer.close()
    dataset = DATASETS.build(
        dict(settings(path), type="smallvit.InMemory", of="smallvit.Digits", cache=False)
    )
    for features in (
        dataset.load_batch([5]).samples[0].teacher_features,
        dataset[5]["data_samples"].teacher_features,
    ):
        assert isinstance(features, StageMaps)
        assert features.maps[0].unique().tolist() == [5.0]
