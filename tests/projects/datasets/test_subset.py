"""Subsets of datasets: stratified, nested, with the sample indices of the whole dataset."""

from typing import ClassVar

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.dataset import ClassBalancedDataset, RepeatDataset

from run_helpers import classification, train
from smallvit.datasets import Digits, Subset
from smallvit.engine.run_record import read_record
from smallvit.registry import DATASETS, TRANSFORMS
from smallvit.utils.data_fingerprint import fingerprint

DIGITS = dict(type="smallvit.Digits", split="train")
WHOLE = Digits()


def counts(dataset):
    return np.bincount([dataset.get_cat_ids(index)[0] for index in range(len(dataset))])


def chosen(**settings):
    return set(Subset(WHOLE, **settings).indices.tolist())


def test_samples_per_class():
    subset = Subset(WHOLE, samples_per_class=7)
    assert len(subset) == 70
    assert set(counts(subset)) == {7}


def test_fraction_of_each_class():
    whole = counts(Digits())
    assert counts(Subset(WHOLE, fraction=0.1)).tolist() == [round(n / 10) for n in whole]
    assert set(counts(Subset(WHOLE, fraction=1e-6))) == {1}
    assert chosen(fraction=1.0) == set(range(len(Digits())))


def test_parts_of_one_seed_are_nested():
    larger = chosen(samples_per_class=50)
    for settings in (dict(fraction=0.3), dict(samples_per_class=10), dict(fraction=0.01)):
        assert chosen(**settings) < larger
        larger = chosen(**settings)


def test_subset_and_complement_are_the_whole():
    part, rest = chosen(samples_per_class=19), chosen(samples_per_class=19, rest=True)
    assert not part & rest
    assert part | rest == set(range(len(WHOLE)))
    assert "the others" in repr(Subset(WHOLE, fraction=0.2, rest=True))
    with pytest.raises(ValueError, match="no sample of 1247 is left"):
        chosen(fraction=1.0, rest=True)


def test_the_selection_never_changes():
    # Results on a subset are only comparable while this holds.
    expected = [5, 18, 45, 124, 184, 553, 933, 1036, 1056, 1149]
    assert sorted(chosen(samples_per_class=1)) == expected
    assert chosen(samples_per_class=10) != chosen(samples_per_class=10, seed=1)


def test_samples_are_those_of_the_whole():
    whole = Digits(pipeline=[dict(type="PackInputs", meta_keys=("sample_idx", "img_path"))])
    subset = Subset(whole, samples_per_class=3)
    for place, index in enumerate(subset.indices):
        assert subset[place]["data_samples"].sample_idx == index
        assert subset[place]["data_samples"].img_path == whole.get_data_info(index)["img_path"]
        assert subset.get_data_info(place)["sample_idx"] == index
    inner = Subset(subset, samples_per_class=1)
    assert {inner[place]["data_samples"].sample_idx for place in range(10)} < set(subset.indices)


def test_it_can_wrap_and_be_wrapped():
    config = dict(type="smallvit.Subset", dataset=DIGITS, samples_per_class=2)
    repeated = RepeatDataset(dataset=config, times=3)
    assert len(repeated) == 60
    assert repeated.metainfo["classes"] == Digits.METAINFO["classes"]
    balanced = ClassBalancedDataset(dataset=config, oversample_thr=0.2)
    assert len(balanced) == 40


def test_a_config_wraps_what_it_inherits(tmp_path):
    """As in the README of the configs."""
    path = tmp_path / "part.py"
    path.write_text(
        '_base_ = "smallvit::dwnet/dwnet-mini_digits.py"\n'
        "train_dataloader = dict(dataset=dict(_delete_=True, type='smallvit.Subset', "
        "dataset=_base_.train_dataloader.dataset, samples_per_class=5))\n"
    )
    dataset = DATASETS.build(Config.fromfile(path).train_dataloader.dataset)
    assert len(dataset) == 50
    assert dataset[0]["inputs"].shape == (3, 32, 32)


def test_nothing_is_loaded_before_it_is_needed():
    inner = dict(DIGITS, lazy_init=True)
    subset = DATASETS.build(
        dict(type="smallvit.Subset", dataset=inner, fraction=0.5, lazy_init=True)
    )
    assert not subset.dataset._fully_initialized
    assert subset.metainfo["classes"] == Digits.METAINFO["classes"]
    assert "fraction=0.5, seed=0" in repr(subset)
    assert len(subset) == len(subset.indices)
    assert subset.dataset._fully_initialized


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(), "either samples_per_class or fraction"),
        (dict(samples_per_class=1, fraction=0.1), "either samples_per_class or fraction"),
        (dict(samples_per_class=0), "samples_per_class >= 1, got 0"),
        (dict(fraction=0.0), r"fraction in \(0, 1\], got 0\.0"),
        (dict(fraction=10), r"fraction in \(0, 1\], got 10"),
        (dict(samples_per_class=120), r"samples_per_class=120 .* 119 images of class '8'"),
    ],
)
def test_settings_out_of_range(settings, message):
    with pytest.raises(ValueError, match=message):
        Subset(WHOLE, **settings)


def test_a_data_set_without_labels_is_refused():
    with pytest.raises(
        TypeError, match=r"Subset requires a classification dataset.* list does not"
    ):
        Subset([1, 2], fraction=0.5)


def test_more_than_one_label_is_refused():
    class Tags(Digits):
        def get_cat_ids(self, idx):
            return [1, 2]

    with pytest.raises(ValueError, match="one label per sample, got 2 in 0"):
        Subset(Tags(), fraction=0.5)


@TRANSFORMS.register_module()
class NoteIndex:
    """Record which samples of the whole dataset are loaded."""

    seen: ClassVar[set[int]] = set()

    def __call__(self, results):
        self.seen.add(results["sample_idx"])
        return results


def test_guarded_training_only_uses_the_subset(tmp_path):
    cfg = classification(tmp_path / "subset_run")
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    dataset = cfg.train_dataloader.dataset
    dataset.pop("samples_per_class")
    dataset.pipeline.insert(0, dict(type="smallvit.NoteIndex"))
    cfg.train_dataloader.dataset = dict(
        type="smallvit.Subset", dataset=dataset, samples_per_class=2, seed=3
    )
    train(cfg)
    assert NoteIndex.seen == chosen(samples_per_class=2, seed=3)
    record = read_record(cfg.work_dir)
    assert record["status"] == "finished"
    assert record["data"]["train"]["samples"] == 20


def test_fingerprints_tell_parts_apart():
    found = [fingerprint(Subset(WHOLE, samples_per_class=9, seed=seed)) for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert found[0]["samples"] == 90
