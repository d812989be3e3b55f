"""CONTRIBUTING.md: its examples run unchanged, and the files it names exist."""

import re

import pytest
import torch
from mmengine.config import Config

from smallvit.hosts import view_host
from smallvit.registry import DATASETS, MODELS
from tool_helpers import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
MOST_LINES = 40
SECTIONS = dict(re.findall(r"^## Add an? ([^\n]+)\n(.*?)(?=^## )", TEXT, re.DOTALL | re.MULTILINE))


def code_of(section: str) -> str:
    (code,) = re.findall(r"```python\n(.*?)```", SECTIONS[section], re.DOTALL)
    return code


def run(section: str) -> dict:
    names = {"__name__": "contributing"}
    torch.manual_seed(0)
    exec(compile(code_of(section), f"CONTRIBUTING.md, {section}", "exec"), names)
    return names


@pytest.fixture(autouse=True)
def nothing_stays_registered():
    yield
    for registry, names in ((MODELS, ("PoolingViT", "FeatureNoise")), (DATASETS, ("LeafTable",))):
        for name in names:
            registry.module_dict.pop(name, None)


def test_each_thing_has_a_short_example():
    assert list(SECTIONS) == ["backbone", "host", "plugin", "converter", "dataset", "config"]
    for name in SECTIONS:
        assert len(code_of(name).splitlines()) <= MOST_LINES, name


def test_named_files_exist():
    for name in set(re.findall(r"`((?:projects|plugins|tests|tools|configs)/[\w./-]+)`", TEXT)):
        if "NAME" not in name and "SYSTEM" not in name:
            assert (ROOT / name).exists(), name


def test_backbone():
    names = run("backbone")
    assert names["features"].shape == (2, 64)
    assert len(view_host(names["backbone"]).blocks) == 2


def test_host():
    names = run("host")
    net, x = names["net"], torch.rand(1, 3, 32, 48)
    assert names["last"].shape == (1, 16, 6, 4)
    with names["Taps"](net, [-1]) as taps, torch.no_grad():
        tokens = net(x)
        assert torch.equal(taps.maps()[0].flatten(2).mT, tokens)


def test_plugin():
    names = run("plugin")
    noisy, x = names["noisy"], torch.rand(2, 3, 32, 32)
    plain = MODELS.build(dict(type="smallvit.DHVT", arch=names["arch"], img_size=32, patch_size=8))
    plain.load_state_dict(noisy.state_dict(), strict=True)
    with torch.no_grad():
        assert torch.equal(noisy.eval()(x)[0], plain.eval()(x)[0])
        noisy.train()
        assert not torch.equal(noisy(x)[0], noisy(x)[0])


def test_converter():
    names = run("converter")
    assert names["ours"].accepted
    assert names["ours"].state["backbone.layers.0.attn.qkv.weight"].shape == (24, 8)
    back = names["back"].state
    assert back.keys() == names["official"].keys()
    assert all(torch.equal(back[key], value) for key, value in names["official"].items())
    assert names["SYSTEM"].models["example_tiny"].config.endswith("dhvt-t_in1k.py")


def test_dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data/leaves"
    folder.mkdir(parents=True)
    (folder / "labels.csv").write_text("file,class\na.jpg,oak\nb.jpg,beech\n")
    names = run("dataset")
    leaves = names["leaves"]
    assert list(leaves.CLASSES) == ["beech", "oak"]
    assert list(leaves.get_gt_labels()) == [1, 0]
    with pytest.raises(names["DataError"], match=r"labels\.csv is missing"):
        names["LeafTable"](str(tmp_path))


def test_config(tmp_path):
    path = tmp_path / "dhvt-t_shortcut_folder.py"
    path.write_text(code_of("config"))
    cfg = Config.fromfile(path)
    assert cfg.train_cfg.max_epochs == 50
    backbone = MODELS.build(cfg.model.backbone)
    assert backbone(torch.rand(1, 3, 64, 64))[-1].shape[1] == cfg.model.head.in_channels
