"""Checkpoint paths with a system prefix, such as ``dwnet::FILE``."""

import mmengine.hub
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.runner import CheckpointLoader

import smallvit
from config_helpers import CONFIGS
from smallvit.apis import load_model
from smallvit.converters import revert
from smallvit.engine import install as installs
from smallvit.engine.checkpoint import official
from smallvit.engine.checkpoint.reading import load_from_local, require_checkpoint
from smallvit.engine.start_files import require_pretrained
from smallvit.errors import CheckpointError


@pytest.fixture(scope="module")
def ours():
    return smallvit.get_model("dhvt-t-p4_cifar100")


@pytest.fixture
def name(tmp_path, monkeypatch, ours):
    monkeypatch.setattr(official, "_folder", lambda: str(tmp_path / "kept"))
    torch.save({"model": revert("dhvt", ours.state_dict())}, tmp_path / "official.pth")
    return f"dhvt::{tmp_path / 'official.pth'}"


def same(model, ours):
    return all(map(torch.equal, model.parameters(), ours.parameters()))


def test_files_are_converted_once_and_cached(name, tmp_path, ours, monkeypatch):
    assert require_checkpoint(name) == name
    state = load_from_local(name)["state_dict"]
    assert state.keys() == ours.state_dict().keys()
    assert len(list((tmp_path / "kept").iterdir())) == 1
    monkeypatch.setattr("smallvit.converters.convert", None)
    assert load_from_local(name)["state_dict"].keys() == state.keys()


def test_a_damaged_conversion_is_made_again(name, tmp_path, ours):
    load_from_local(name)
    (kept,) = (tmp_path / "kept").iterdir()
    kept.write_bytes(kept.read_bytes()[:-1000])
    assert load_from_local(name)["state_dict"].keys() == ours.state_dict().keys()
    assert load_from_local(str(kept))["state_dict"].keys() == ours.state_dict().keys()


def test_tools_and_configs_accept_the_prefix(name, tmp_path, ours):
    installs.install()
    config = CONFIGS / "dhvt/dhvt-t-p4_cifar100.py"
    assert same(load_model(config, name), ours)
    assert same(smallvit.get_model("dhvt-t-p4_cifar100", pretrained=name), ours)
    assert "state_dict" in CheckpointLoader.load_checkpoint(name)
    cfg = Config.fromfile(config)
    cfg.model.init_cfg = dict(type="Pretrained", checkpoint=name)
    require_pretrained(cfg)
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        model = MODELS.build(cfg.model)
    model.init_weights()
    assert same(model, ours)
    cfg.model.init_cfg.checkpoint = "dhvt::missing.pth"
    with pytest.raises(CheckpointError, match="does not exist"):
        require_pretrained(cfg)


def test_conversion_is_strict_and_runs_no_code(name, tmp_path):
    wrong = f"dwnet::{tmp_path / 'official.pth'}"
    with pytest.raises(CheckpointError, match=r"dwnet::.*not a dwnet checkpoint"):
        load_from_local(wrong)
    with pytest.raises(CheckpointError, match="no such checkpoint"):
        load_from_local("dwnet::missing.pth")
    torch.save({"model": print}, tmp_path / "code.pth")
    with pytest.raises(CheckpointError, match=r"contains builtins\.print"):
        load_from_local(f"dhvt::{tmp_path / 'code.pth'}")
    assert not list((tmp_path / "kept").glob("*"))


@pytest.mark.parametrize("name", ["dwnet/dwnet-mini_digits", "dwnet/dwnet-mini_digits-seg"])
def test_mmengine_hub(name):
    model = mmengine.hub.get_model(f"smallvit::{name}.py")
    assert type(model.backbone).__name__ == "DWNet"
