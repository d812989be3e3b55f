"""Guided training in two processes, killed and resumed, with EMA."""

from copy import deepcopy

import pytest
import torch
from mmengine.registry import DefaultScope

from config_helpers import read_config
from run_helpers import Run, classification, losses, preload
from smallvit.registry import MODELS

TEACHER = dict(
    type="ImageClassifier",
    backbone=dict(type="smallvit.CifarResNet", depth=8, base_channels=8),
    neck=dict(type="GlobalAveragePooling"),
    head=dict(type="LinearClsHead", num_classes=10, in_channels=32),
)


@pytest.fixture(scope="module")
def teacher(tmp_path_factory):
    preload("mmpretrain")
    path = tmp_path_factory.mktemp("teacher") / "teacher.pth"
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        torch.save(dict(state_dict=MODELS.build(deepcopy(TEACHER)).state_dict()), path)
    return dict(model=TEACHER, checkpoint=str(path), size=16)


def guided(work_dir, teacher):
    cfg = classification(work_dir)
    cfg.train_cfg.max_epochs = 3
    cfg.model.update(type="smallvit.GuidedClassifier", guidance=dict(teacher=teacher))
    return cfg


def last(work_dir):
    return torch.load(work_dir / (work_dir / "last_checkpoint").read_text(), weights_only=True)


@pytest.mark.slow
def test_killed_and_resumed_in_two_processes(teacher, tmp_path):
    Run(guided(tmp_path / "whole", teacher), 2).finish()
    run = Run(guided(tmp_path / "killed", teacher), 2)
    assert run.kill_after(2, 0.0), run.tail()
    Run(guided(tmp_path / "killed", teacher), 2, resume=True).finish()

    assert losses(tmp_path / "killed") == losses(tmp_path / "whole")
    wanted, found = last(tmp_path / "whole"), last(tmp_path / "killed")
    for key in ("state_dict", "ema_state_dict"):
        assert found[key].keys() == wanted[key].keys()
        assert not [name for name in found[key] if "guidance" in name]
        assert all(torch.equal(found[key][name], value) for name, value in wanted[key].items())
    kept, expected = (each["smallvit"]["modules"] for each in (found, wanted))
    assert sorted(kept) == [f"guidance.projections.{i}" for i in range(3)]
    for name, state in expected.items():
        assert all(torch.equal(kept[name][key], value) for key, value in state.items())


def test_its_checkpoint_is_the_plain_classifiers(teacher, tmp_path):
    Run(guided(tmp_path, teacher)).finish()
    plain = classification(tmp_path / "plain").model
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        MODELS.build(plain).load_state_dict(last(tmp_path)["state_dict"])


def test_guided_recipes_differ_from_the_plain_ones_by_the_guidance():
    plain = read_config("locality_guidance/pvt-ti_cifar100.py")
    guided = read_config("locality_guidance/pvt-ti_guided_cifar100.py")
    assert guided.model.pop("guidance").student_indices == (0, 3, 7)
    assert guided.model.pop("type") == "smallvit.GuidedClassifier"
    plain.model.pop("type")
    guided.pop("guidance")
    assert guided.to_dict() == plain.to_dict()
