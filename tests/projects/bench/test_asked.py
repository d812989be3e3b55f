"""Bench options that depend on the dataset."""

from argparse import Namespace
from dataclasses import replace

import pytest

from smallvit.bench.asked import check_out, limit_validation
from smallvit.bench.plan import BenchSettings, Run
from smallvit.bench.recipe import run_config, whole_images
from smallvit.errors import UserError

SETTINGS = BenchSettings("digits", 32, 64, False, "iters", 100, val_samples=3)
RUN = Run("vit", 10, 0, 100, 10)


def described(**changes):
    counts = {"train": [9, 9], "val": [8, 5], "test": [7, 7]}
    known = dict(classes=["ant", "bee"], counts=counts, selected_on="val/", same_images=False)
    known["images"] = {split: sum(numbers) for split, numbers in counts.items()}
    return known | changes


def test_validation_images_are_limited():
    data = described()
    limit_validation(data, 5)
    assert data["counts"] == {"train": [9, 9], "val": [5, 5], "test": [7, 7]}
    assert data["images"] == {"train": 18, "val": 10, "test": 14}
    assert data["selected_on"] == "5 images of each class of val/"


@pytest.mark.parametrize(
    ("changes", "number", "said"),
    [
        ({}, 6, "class 'bee' has only 5"),
        ({"same_images": True}, 5, "no test images"),
        ({"several": True}, 5, "several labels"),
        ({"task": "detection"}, 5, "no classes"),
    ],
)
def test_invalid_limits_are_rejected(changes, number, said):
    with pytest.raises(UserError, match=f"--val-per-class {number}: .*{said}"):
        limit_validation(described(**changes), number)


def test_a_run_validates_on_the_subset_of_every_seed():
    cfgs = [run_config(SETTINGS, replace(RUN, seed=seed), 10) for seed in (0, 1)]
    first, second = (cfg.val_dataloader.dataset for cfg in cfgs)
    assert first == second
    assert (first.type, first.samples_per_class) == ("smallvit.Subset", 3)
    assert cfgs[0].test_dataloader.dataset.type == "smallvit.Digits"
    plain = run_config(replace(SETTINGS, val_samples=0), RUN, 10)
    assert plain.val_dataloader.dataset == first.dataset


def test_stored_features_show_whole_images():
    steps = whole_images(run_config(SETTINGS, RUN, 10)).val_dataloader.dataset.dataset.pipeline
    assert "Resize" in [step.type for step in steps]


def test_results_inside_of_the_dataset_are_refused(tmp_path):
    (tmp_path / "ant").mkdir()
    inside = str(tmp_path / "work_dirs" / "bench")
    images = Namespace(data=str(tmp_path), unlabeled=None)
    with pytest.raises(UserError, match=r"lies in --data .*, whose subfolders are part"):
        check_out(images, inside)
    check_out(images, f"{tmp_path}_bench")
    check_out(Namespace(data="digits", unlabeled=None), "digits")
    (tmp_path / "train").mkdir()  # other subfolders do not count
    check_out(images, inside)
    with pytest.raises(UserError, match=r"lies in --unlabeled .*, so that its plots"):
        check_out(Namespace(data=str(tmp_path), unlabeled=str(tmp_path)), inside)
