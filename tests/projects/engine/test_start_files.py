"""Paths of initial checkpoints, checked before the model is built."""

import pytest
import torch

from config_helpers import CONFIGS, read_config
from smallvit.engine.pipeline import Request, find_weights, guard, take_steps
from smallvit.engine.start_files import pretrained_files, require_pretrained
from smallvit.errors import CheckpointError

COCO = "dwnet/dwnet-t_dynamic_coco.py"


def test_missing_file_is_named_with_the_ways_to_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError) as error:
        require_pretrained(read_config(COCO))
    for words in (
        "checkpoints/dwnet-t_dynamic_in1k.pth, the pretrained weights",
        "train configs/dwnet/dwnet-t_dynamic_in1k.py",
        "convert.py dwnet OFFICIAL checkpoints/dwnet-t_dynamic_in1k.pth",
        "--cfg-options model.backbone.init_cfg.checkpoint=FILE",
        "--cfg-options model.backbone.init_cfg=None",
    ):
        assert words in str(error.value)


def test_a_run_of_another_config_names_that_config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CheckpointError, match="train configs/dhvt/dhvt-t_in1k"):
        require_pretrained(read_config("dhvt/dhvt-t_finetune_cifar100.py"))


@pytest.mark.parametrize("init_cfg", [None, "file", "address"])
def test_existing_files_are_accepted(init_cfg, tmp_path):
    cfg = read_config(COCO)
    torch.save({}, tmp_path / "a.pth")
    if init_cfg is None:
        cfg.model.backbone.init_cfg = None
    else:
        address = str(tmp_path / "a.pth") if init_cfg == "file" else "https://host/a.pth"
        cfg.model.backbone.init_cfg.checkpoint = address
    require_pretrained(cfg)


def test_lists_are_searched():
    exits = [dict(init_cfg=dict(type="Pretrained", checkpoint=name)) for name in "ab"]
    found = dict(pretrained_files(dict(backbone=dict(exits=exits)), "model"))
    assert found == {"model.backbone.exits.0.init_cfg": "a", "model.backbone.exits.1.init_cfg": "b"}


@pytest.mark.parametrize("needs", [("model", "optim_wrapper"), ("model",)])
def test_training_needs_it_and_testing_does_not(needs, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = Request(str(CONFIGS / COCO), needs=needs)
    if "optim_wrapper" not in needs:
        take_steps(request, last=find_weights)
        return
    with pytest.raises(CheckpointError, match="does not exist"):
        take_steps(request, last=guard)
