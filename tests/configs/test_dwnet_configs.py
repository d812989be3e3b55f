"""DWNet configs: parsing, model widths, published hyperparameters, and metafiles."""

import re
from pathlib import Path

import pytest
import yaml
from mmengine.config import Config
from mmengine.hub import get_config

from config_helpers import CONFIGS, LEAVES, ROOT, build, read_config, scope_of, use_mini

METAFILES = sorted(CONFIGS.glob("*/metafile.yml"))
DWNET = [name for name in LEAVES if re.match("dwnet/(?!.*_(digits|folder|custom))", name)]
COCO, CASCADE, ADE = (
    [name for name in DWNET if re.search(pattern, name)]
    for pattern in (r"[tbc]_coco", "cascade-3x_coco", "ade20k")
)


def metafile_models() -> dict[str, dict]:
    """Return every model of the metafiles by its config."""
    models = [m for path in METAFILES for m in yaml.safe_load(path.read_text())["Models"]]
    return {model["Config"].removeprefix("configs/"): model for model in models}


def test_the_recipes_that_were_promised_are_there():
    names = {
        f"dwnet/dwnet-{size}_{rest}.py"
        for size in "tb"
        for rest in (
            "in1k",
            "dynamic_in1k",
            "inhomogeneous_in1k",
            "coco",
            "dynamic_coco",
            "cascade-3x_coco",
            "dynamic-cascade-3x_coco",
            "ade20k",
            "dynamic_ade20k",
        )
    }
    assert names <= set(LEAVES)


@pytest.mark.parametrize("name", LEAVES)
def test_config_parses_with_its_name_and_batch_size(name):
    cfg = read_config(name)
    assert re.fullmatch(r"[a-z0-9]+-[a-z0-9.-]+(_[a-z0-9.-]+)?_[a-z0-9-]+", Path(name).stem)
    assert cfg.default_scope in ("mmpretrain", "mmdet", "mmseg")
    assert cfg.auto_scale_lr.base_batch_size >= cfg.train_dataloader.batch_size
    assert cfg.optim_wrapper.get("dtype", "bfloat16") == "bfloat16"


@pytest.mark.parametrize("name", DWNET)
def test_modules_after_the_backbone_have_matching_widths(name, without_weights):
    model = build(read_config(name))
    assert _widths(model) == [model.backbone.embed_dims[i] for i in model.backbone.out_indices]


def _widths(model) -> list[int]:
    """Return the input channels of the modules after the backbone."""
    for part in ("neck", "decode_head"):
        if getattr(model, part, None) is not None:
            return list(getattr(model, part).in_channels)
    return [model.head.in_channels]


def test_metafiles_name_every_model_and_the_index_every_metafile():
    models = metafile_models()
    assert set(DWNET) <= set(models)
    for config, model in models.items():
        assert (CONFIGS / config).is_file()
        assert model["Name"] == Path(config).stem
    index = yaml.safe_load((ROOT / "model-index.yml").read_text())["Import"]
    assert sorted(index) == [str(path.relative_to(ROOT)) for path in METAFILES]


def test_configs_are_found_by_scope(tmp_path):
    name = "dwnet/dwnet-t_coco.py"
    assert get_config(f"smallvit::{name}").to_dict() == read_config(name).to_dict()
    child = tmp_path / "child.py"
    child.write_text(f"_base_ = 'smallvit::{name}'\nmodel = dict(backbone=dict(conv='dynamic'))\n")
    assert Config.fromfile(child).model.backbone.conv == "dynamic"
    assert Config.fromfile(child).model.type == "MaskRCNN"


@pytest.mark.parametrize("name", CASCADE)
def test_cascade_recipe_is_the_published_one(name):
    cfg = read_config(name)
    assert cfg.train_dataloader.batch_size * 8 == cfg.auto_scale_lr.base_batch_size == 16
    assert cfg.train_cfg.max_epochs == 36
    assert cfg.param_scheduler[1].milestones == [27, 33]
    assert cfg.param_scheduler[1].end == 36
    assert cfg.param_scheduler[0].end == 501
    _assert_detection_optimizer(cfg)
    heads = cfg.model.roi_head.bbox_head
    assert [head.bbox_coder.target_stds[0] for head in heads] == [0.1, 0.05, 0.033]
    for head in heads:
        assert (head.num_shared_convs, head.num_shared_fcs) == (4, 1)
        assert (head.norm_cfg.type, head.loss_bbox.type) == ("SyncBN", "GIoULoss")
        assert (head.loss_bbox.loss_weight, head.reg_decoded_bbox) == (10.0, True)
        assert not head.reg_class_agnostic
    choice = next(t for t in cfg.train_dataloader.dataset.pipeline if t.type == "RandomChoice")
    resize, crop_policy = choice.transforms
    assert [side for side, _ in resize[0].scales] == list(range(480, 801, 32))
    assert crop_policy[0].scales == [(400, 1333), (500, 1333), (600, 1333)]
    assert (crop_policy[1].crop_type, crop_policy[1].crop_size) == ("absolute_range", (384, 600))
    assert crop_policy[2].scales == resize[0].scales


@pytest.mark.parametrize("name", COCO)
def test_detection_recipes_share_optimizer_and_norms(name):
    cfg = read_config(name)
    _assert_detection_optimizer(cfg)
    assert cfg.auto_scale_lr.base_batch_size == 16
    if "cascade" not in name:
        assert (cfg.model.type, cfg.train_cfg.max_epochs) == ("MaskRCNN", 12)
        assert cfg.param_scheduler[1].milestones == [8, 11]


def _assert_detection_optimizer(cfg: Config) -> None:
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("AdamW", 1e-4, 0.05)
    assert cfg.optim_wrapper.type == "smallvit.AutocastOptimWrapper"
    assert cfg.model.backbone.norm_cfg.type == "SyncBN"
    is_base = cfg.model.backbone.arch == "base"
    assert cfg.model.backbone.drop_path_rate == (0.3 if is_base else 0.2)


@pytest.mark.parametrize("name", ADE)
def test_segmentation_recipe_is_the_published_one(name):
    cfg = read_config(name)
    assert cfg.train_dataloader.batch_size * 8 == cfg.auto_scale_lr.base_batch_size == 16
    assert cfg.train_cfg.max_iters == 160000
    optimizer = cfg.optim_wrapper.optimizer
    assert (optimizer.type, optimizer.lr, optimizer.weight_decay) == ("AdamW", 6e-5, 0.01)
    poly = cfg.param_scheduler
    assert (poly.type, poly.by_epoch) == ("smallvit.WarmupPolyLR", False)
    assert (poly.warmup, poly.warmup_ratio) == (1500, 1e-6)
    assert cfg.model.backbone.drop_path_rate == 0.3
    assert tuple(cfg.model.data_preprocessor.size) == (512, 512)
    crop = next(t for t in cfg.train_dataloader.dataset.pipeline if t.type == "RandomCrop")
    assert tuple(crop.crop_size) == (512, 512)
    norms = [cfg.model[part].norm_cfg.type for part in ("backbone", "decode_head")]
    assert norms == ["SyncBN", "SyncBN"]
    assert cfg.default_hooks.checkpoint.save_best == "mIoU"


@pytest.mark.parametrize("name", ["dwnet-t_in1k", "dwnet-t_cascade-3x_coco", "dwnet-t_ade20k"])
def test_parameters_without_weight_decay(name, uninitialized):
    """All norms of a classifier; test_recipe_weights.py covers detectors and segmentors."""
    import torch
    from mmengine.optim import build_optim_wrapper

    cfg = use_mini(read_config(f"dwnet/{name}.py"))
    cfg.model.backbone.use_abs_pos_embed = True
    model = build(cfg)
    with scope_of(cfg):
        groups = build_optim_wrapper(model, cfg.optim_wrapper).param_groups
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    norm_types = (torch.nn.modules.batchnorm._BatchNorm, torch.nn.LayerNorm)
    norms = [m for m in model.modules() if isinstance(m, norm_types)]
    assert len(norms) > 10
    exempt = norms if name.endswith("in1k") else [model.backbone.norm0, model.backbone.norm3]
    assert all(decay[id(p)] == 0 for norm in exempt for p in norm.parameters())
    assert decay[id(model.backbone.absolute_pos_embed)] == 0
    kernels = [m.weight for m in model.modules() if isinstance(m, torch.nn.Conv2d)]
    assert {decay[id(k)] for k in kernels} == {cfg.optim_wrapper.optimizer.weight_decay}
