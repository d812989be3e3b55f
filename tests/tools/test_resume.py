"""Resuming after repeated kills gives the same weights as an uninterrupted run."""

import random

import pytest
import torch

from run_helpers import Run, classification, in_memory, losses, preload, segmentation
from smallvit.datasets.digit_scenes import SceneSettings, write_digit_scenes

#: Kills in each of two scenarios; the exhaustive tests have 30 in six scenarios.
FEW, MANY = (2, 1), 5


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    preload("mmpretrain", "mmseg")
    out = tmp_path_factory.mktemp("scenes") / "scenes"
    write_digit_scenes(out, SceneSettings(num_train=7, num_val=2, size=64, digits_per_scene=(1, 3)))
    return out


def _config(task, work_dir, scenes, processes, iters):
    if task == "classification":
        return classification(work_dir)
    if task == "in memory":
        return in_memory(work_dir)
    cfg = segmentation(work_dir, scenes, iters)
    workers = 1 if processes == 1 else 0
    cfg.train_dataloader.update(num_workers=workers, persistent_workers=bool(workers))
    return cfg


def _final(work_dir):
    path = (work_dir / "last_checkpoint").read_text()
    return torch.load(work_dir / path, weights_only=True)


def _assert_same(found, wanted, path=""):
    if isinstance(wanted, torch.Tensor):
        assert torch.equal(found, wanted), path
    elif isinstance(wanted, dict):
        assert found.keys() == wanted.keys(), path
        for key in wanted:
            _assert_same(found[key], wanted[key], f"{path}.{key}")
    elif isinstance(wanted, (list, tuple)):
        assert len(found) == len(wanted), path
        for number, (one, other) in enumerate(zip(found, wanted, strict=True)):
            _assert_same(one, other, f"{path}.{number}")
    else:
        assert found == wanted, path


@pytest.mark.slow
@pytest.mark.parametrize(
    ("task", "processes", "kills"),
    [
        ("in memory", 2, FEW[0]),
        pytest.param("segmentation", 1, FEW[1], marks=pytest.mark.exhaustive),
        *(
            pytest.param(task, processes, MANY, marks=pytest.mark.exhaustive)
            for task in ("classification", "in memory", "segmentation")
            for processes in (1, 2)
        ),
    ],
)
def test_killed_at_random_moments(task, processes, kills, scenes, tmp_path):
    iters = 12 if kills < MANY else 24
    how = (scenes, processes, iters)
    whole = Run(_config(task, tmp_path / "whole", *how), processes)
    whole.finish()

    work_dir = tmp_path / "killed"
    rng = random.Random(f"{task} {processes}")
    for _ in range(kills):
        run = Run(_config(task, work_dir, *how), processes, resume=True)
        assert run.kill_after(rng.randint(0, 3), rng.uniform(0, 0.1)), run.tail()
    last = Run(_config(task, work_dir, *how), processes, resume=True)
    last.finish()

    wanted, found = losses(tmp_path / "whole"), losses(work_dir)
    assert len(wanted) == iters if task == "segmentation" else len(wanted) >= 15
    assert found == wanted
    wanted, found = _final(tmp_path / "whole"), _final(work_dir)
    for key in ("state_dict", "optimizer", "param_schedulers", "smallvit"):
        _assert_same(found[key], wanted[key], key)
    if task != "segmentation":
        _assert_same(found["ema_state_dict"], wanted["ema_state_dict"])
    # Data and step times differ; losses, metrics and schedules must not.
    info = {k: v for k, v in wanted["message_hub"]["runtime_info"].items() if "best_score" in k}
    assert info
    _assert_same({k: found["message_hub"]["runtime_info"][k] for k in info}, info)
