"""Python blocks of READMEs and tutorials: code is executed unchanged, configs are built."""

import re
import textwrap
from functools import cache
from pathlib import Path

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import DefaultScope
from PIL import Image
from torch import nn

from smallvit.apis import load_model
from smallvit.engine.config_files import read_config
from smallvit.engine.stored_config import KEY, describe
from smallvit.hosts import view_host
from smallvit.registry import DATASETS, FUNCTIONS, MODELS, TRANSFORMS, WEIGHT_INITIALIZERS
from tool_helpers import ROOT

#: Paths for the reader's machine, and their replacements in the tests.
REPLACED = {'device="cuda"': 'device="cpu"', '"configs/': f'"{ROOT.as_posix()}/configs/'}
SMALL = dict(embed_dims=8, depths=[1, 1, 1, 1], group_channels=[1, 2, 4, 8])
TINY_DHVT = dict(
    type="smallvit.DHVT",
    arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
    **{"img_size": 32, "patch_size": 8},
)
SKIPPED = ("tests/", ".github/")


def readmes() -> list[str]:
    found = [ROOT / "README.md", ROOT / "configs/README.md", *ROOT.glob("*/*/README.md")]
    found += [*ROOT.glob("projects/smallvit/*/README.md"), *ROOT.glob("docs/tutorials/*.md")]
    names = {path.relative_to(ROOT).as_posix() for path in found}
    links = ("projects/smallvit/plugins/", "projects/smallvit/.mim/")
    return sorted(name for name in names if not name.startswith(links))


@cache
def blocks(readme: str) -> list[str]:
    text = (ROOT / readme).read_text(encoding="utf-8")
    return [textwrap.dedent(code) for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]


def run(code: str, **names) -> dict:
    for before, after in REPLACED.items():
        code = code.replace(before, after)
    exec(code, names)
    return names


def build(model: dict, scope: str = "mmpretrain") -> nn.Module:
    with DefaultScope.overwrite_default_scope(scope):
        return MODELS.build(ConfigDict(model))


def as_config(code: str, name: str = "config.py") -> Config:
    Path(name).write_text(code, encoding="utf-8")
    return Config.fromfile(name)


def merged(base: str, code: str) -> Config:
    """Merge the keys of a fragment into another config."""
    return as_config(f"_base_ = {base!r}\n{code}")


def save(name: str, cfg: Config, model: nn.Module, **more) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    text = describe(cfg, {"classes": model.dataset_meta.get("classes") or ["a", "b"]})
    torch.save({"state_dict": model.state_dict(), KEY: text, **more}, name)


def predictor(code):
    cfg = Config.fromfile(ROOT / "configs/dwnet/dwnet-mini_digits-det.py")
    cfg.model.backbone.arch = ConfigDict(SMALL)
    cfg.model.neck.in_channels = [8, 16, 32, 64]
    save("detector.pth", cfg, load_model(cfg))
    Image.new("RGB", (64, 48)).save("scan.tif")
    assert run(code)["found"].shape == (48, 64)


def classifier(code):
    cfg = Config.fromfile(ROOT / "configs/dwnet/dwnet-mini_digits.py")
    save("best.pth", cfg, load_model(cfg))
    Image.new("RGB", (32, 32)).save("photo.jpg")
    assert len(run(code)["result"].scores) == 10


def combined(code):
    model = build(run(code)["model"])
    assert len(model.guidance.teacher.channels) == 3
    assert len(model.backbone.dw_shortcuts[0]) == 12


def in_mmdet(code):
    cfg = merged("mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py", code)
    neck = build(cfg.model.neck, "mmdet")
    assert len(neck(build(cfg.model.backbone, "mmdet")(torch.rand(1, 3, 64, 64)))) == 5


def in_mmseg(code):
    cfg = merged("mmseg::_base_/models/upernet_r50.py", code)
    cfg.model.decode_head.norm_cfg.type = "BN"
    maps = build(cfg.model.backbone, "mmseg").eval()(torch.rand(1, 3, 64, 64))
    head = build(cfg.model.decode_head, "mmseg").eval()
    assert head(maps).shape == (1, 19, 16, 16)
    assert cfg.model.auxiliary_head.in_channels == maps[2].shape[1]


def loading(code):
    cfg = read_config(str(ROOT / "configs/dhvt/dhvt-t_folder.py"))
    save("work_dirs/dhvt-t_folder/epoch_100.pth", cfg, load_model(cfg))
    assert next(run(code)["model"].parameters()).device.type == "cpu"


def in_memory(code):
    cfg = merged("smallvit::dw_shortcut/vit-t_shortcut_tiny-imagenet.py", code)
    assert DATASETS.get(cfg.train_dataloader.dataset.type)
    assert DATASETS.get(f"smallvit.{cfg.train_dataloader.dataset.of}")
    assert FUNCTIONS.get(cfg.train_dataloader.collate_fn.type)
    assert MODELS.get(cfg.data_preprocessor.type)


def subset(code):
    dataset = as_config(code).train_dataloader.dataset
    assert DATASETS.get(dataset.type)
    assert dataset.dataset.type == "CIFAR100"


def bands(code):
    steps = run(code)["train_pipeline"]
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        reader = TRANSFORMS.build(steps[0])
    assert reader.reader.count == 4
    assert all(TRANSFORMS.get(f"mmpretrain.{step['type']}") for step in steps[1:])


def table(code):
    settings = as_config(code).train_dataloader.dataset
    rows = "file,labels,split\nimages/a.jpg,cat;dog,train\nimages/b.jpg,cat,val\n"
    settings.data_root = str(Path().absolute())
    Path(settings.ann_file).write_text(rows, encoding="utf-8")
    Path("images").mkdir()
    for name in "ab":
        Image.new("RGB", (8, 8)).save(f"images/{name}.jpg")
    assert DATASETS.build(settings).metainfo["classes"] == ("cat", "dog")


def own_config(code):
    cfg = as_config(code)
    assert build(cfg.model.backbone, "mmdet").with_cp
    assert cfg.train_dataloader.batch_size == 4


def initialized(code):
    for name in re.findall(r'type="(smallvit\.\w+)"', code):
        assert WEIGHT_INITIALIZERS.get(name), name
    found = run(code)
    init_cfg = found.get("init_cfg") or found["model"]["init_cfg"]
    head = dict(type="LinearClsHead", num_classes=2, in_channels=16)
    host = {**TINY_DHVT, "with_pos_embed": True}
    torch.manual_seed(0)
    model = build(dict(type="ImageClassifier", backbone=host, head=head, init_cfg=init_cfg))
    before = model.backbone.layers[0].attn.qkv.weight.clone()
    model.init_weights()
    assert not torch.equal(model.backbone.layers[0].attn.qkv.weight, before)


def backbone(code):
    assert view_host(build(run(code)["backbone"])).blocks


def calibrated(code):
    """A small untrained cascade with thresholds for one budget."""
    cfg = Config.fromfile(ROOT / "configs/dvt/dvt-mini_digits.py")
    cfg.model.backbone.exits = [ConfigDict({**TINY_DHVT, "patch_size": size}) for size in (8, 4)]
    cfg.model.head.update(in_channels=16, num_exits=2)
    cfg.model.head.pop("loss_weights", None)
    evaluation = {"accuracy": [60.0], "flops": [1e6], "anytime": [0.0] * 2, "num_images": 1}
    state = {"version": 1, "flops": [1e6] * 2, "thresholds": [[0.0] * 2], "evaluation": evaluation}
    save("CHECKPOINT_calibrated.pth", cfg, load_model(cfg), multi_exit=state)
    cfg.dump("cascade.py")
    assert run(code, CONFIG="cascade.py")["model"].mode == "budgeted"


def multi_exit(code):
    assert build(run(code)["model"]).num_exits == 2


def pyramid(code):
    maps = [torch.rand(1, 384, 4, 4)] * 4
    for part in run(code)["neck"]:
        maps = build(part, "mmdet")(maps)
    assert [each.shape[-1] for each in maps] == [16, 8, 4, 2, 1]


def guided(code):
    model = run(code)["model"]
    if model["backbone"] is ...:
        head = dict(type="LinearClsHead", num_classes=100, in_channels=16)
        model = {**model, "backbone": TINY_DHVT, "head": head}
    assert build(model).guidance.teacher.channels


def masked(code):
    model = build(run(code)["model"])
    assert model.backbone is not None
    assert model.neck is not None


def guards(code):
    Path("your_base.py").write_text("default_hooks = dict(timer=dict(type='IterTimerHook'))\n")
    assert {"timer", "non_finite"} <= set(as_config(code).default_hooks)


def with_host(code):
    net = build({**TINY_DHVT, "arch": {**TINY_DHVT["arch"], "num_layers": 12}})
    images = torch.rand(2, 3, 32, 32)
    run(code, backbone=net, images=images, view=view_host(net))


def teaching(code):
    """Check the adapter; tests/projects/hosts covers its details."""

    class MyNet(nn.Module):
        pass

    class MyBlock(nn.Module):
        pass

    run(code, MyNet=MyNet, MyBlock=MyBlock)


CASES = {
    "README.md": [predictor, combined, in_mmdet, loading],
    "configs/README.md": [in_memory, subset, own_config, initialized, initialized],
    "configs/dhvt/README.md": [backbone],
    "configs/dvt/README.md": [calibrated, multi_exit],
    "configs/dw_shortcut/README.md": [backbone, pyramid],
    "configs/dwnet/README.md": [in_mmdet, in_mmseg, run],
    "configs/locality_guidance/README.md": [guided, run],
    "docs/tutorials/bands.md": [bands],
    "docs/tutorials/mm_project.md": [in_mmdet, in_mmseg, backbone, backbone],
    "docs/tutorials/predict.md": [classifier],
    "docs/tutorials/table.md": [table],
    "plugins/dw_shortcut/README.md": [run],
    "plugins/initialization/README.md": [initialized],
    "plugins/locality_guidance/README.md": [guided],
    "plugins/multi_exit/README.md": [run],
    "plugins/self_supervision/README.md": [masked],
    "projects/smallvit/engine/README.md": [guards],
    "projects/smallvit/hosts/README.md": [with_host, teaching, with_host, teaching, with_host],
}
#: Blocks that build detectors, or networks for images of 224 pixels.
SLOW = {("README.md", 0), ("configs/locality_guidance/README.md", 1)}


def cases():
    done = set()
    for readme, checks in CASES.items():
        for index, check in enumerate(checks):
            text = blocks(readme)[index] if index < len(blocks(readme)) else None
            if text in done:
                continue  # two READMEs contain the same block
            done.add(text)
            marks = [pytest.mark.slow] if (readme, index) in SLOW else []
            yield pytest.param(readme, index, check, id=f"{readme}-{index}", marks=marks)


def test_every_block_has_a_check():
    counts = {name: len(blocks(name)) for name in readmes()}
    expected = {name: len(CASES.get(name, ())) for name in readmes()}
    assert counts == expected, "CASES must list how to run each block, in order"


def test_every_plugin_has_a_readme():
    packages = {path.parent.name for path in ROOT.glob("plugins/*/__init__.py")}
    assert packages == {path.parent.name for path in ROOT.glob("plugins/*/README.md")}


@pytest.mark.parametrize(("readme", "index", "check"), cases())
def test_the_code_of_a_readme_runs(readme, index, check, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check(blocks(readme)[index])
