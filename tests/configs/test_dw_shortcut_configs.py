"""Shortcut configs: published sizes, differences from the plain host, schedules and data."""

import re

import numpy as np
import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

from config_helpers import LEAVES, build, read_config, scope_of
from smallvit.converters import convert, get_system, identify, revert
from smallvit.hosts import view_host
from smallvit.registry import MODELS

RECIPES = [name for name in LEAVES if re.match(r"dw_shortcut/.*_shortcut", name)]
CLASSIFIERS = [name for name in RECIPES if not re.search("coco|digits-", name)]
PUBLISHED = {
    "dw_shortcut/vit-t_shortcut_cifar100.py": 5_564_452,
    "dw_shortcut/vit-s_shortcut_cifar100.py": 21_745_636,
    "dw_shortcut/cait-xxs12_shortcut_cifar100.py": 6_458_660,
    "dw_shortcut/cait-xxs24_shortcut_cifar100.py": 11_822_756,
    "dw_shortcut/swin-t_shortcut_cifar100.py": 27_649_246,
}


def count(module):
    return sum(p.numel() for p in module.parameters())


def backbone_of(name):
    cfg = read_config(name)
    with scope_of(cfg):
        return MODELS.build(cfg.model.backbone)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_sizes_without_weights(name, uninitialized):
    model = build(read_config(name))
    assert count(model) == PUBLISHED[name]
    shortcuts = count(model.backbone.dw_shortcuts)
    assert shortcuts / (count(model) - shortcuts) < 0.03


@pytest.mark.parametrize("name", PUBLISHED)
def test_classifier_predicts(name, uninitialized):
    cfg = read_config(name)
    model = build(cfg)
    assert model.backbone.dw_shortcuts
    with torch.no_grad():
        scores = model(torch.zeros(1, 3, 224, 224), mode="tensor")
    assert scores.shape == (1, cfg.model.head.num_classes)


@pytest.mark.parametrize("name", [n for n in RECIPES if n not in CLASSIFIERS])
def test_dense_backbone_gives_its_maps(name, uninitialized):
    backbone = backbone_of(name)
    backbone.train(False)
    with torch.no_grad():
        maps = backbone(torch.zeros(1, 3, 96, 64))
    assert len(maps) == 4
    assert len(view_host(backbone)) == sum(len(stage) for stage in backbone.dw_shortcuts)


@pytest.mark.parametrize(
    "name",
    [
        *(f"{model}_{{}}cifar100" for model in ("vit-t", "vit-s", "cait-xxs12", "swin-t")),
        *(f"{model}_{{}}tiny-imagenet" for model in ("vit-t", "cait-xxs24", "swin-t")),
        "swin-t_{}in1k",
        "swin-t_{}coco",
    ],
)
def test_recipes_only_differ_from_their_host_by_the_shortcut(name):
    plain = read_config(f"dw_shortcut/{name.format('')}.py")
    ours = read_config(f"dw_shortcut/{name.format('shortcut_')}.py")
    host = ours.model.backbone.pop("host")
    assert ours.model.backbone.type == "smallvit.DWConvShortcut"
    ours.model.backbone.type = host
    assert ours.to_dict() == plain.to_dict()


@pytest.mark.parametrize("official", get_system("dw_shortcut").models)
def test_official_model_loads_into_its_config(official, uninitialized):
    record = get_system("dw_shortcut").models[official]
    name = record.config.split("/configs/")[1]
    assert name in LEAVES
    model = build(read_config(name))
    state = revert("dw_shortcut", model.state_dict())
    key_map, names = identify("dw_shortcut", {"model": state})
    assert (key_map.name, names) == (record.architecture, [official])
    model.load_state_dict(convert("dw_shortcut", {"model": state}))


def test_vectors_do_not_decay(uninitialized):
    cfg = read_config("dw_shortcut/swin-t_shortcut_cifar100.py")
    model = build(cfg)
    names = {id(p): name for name, p in model.named_parameters()}
    groups = build_optim_wrapper(model, cfg.optim_wrapper).optimizer.param_groups
    decayed = {names[id(p)]: group["weight_decay"] for group in groups for p in group["params"]}
    assert decayed["backbone.dw_shortcuts.0.0.branches.0.norm.weight"] == 0
    assert decayed["backbone.dw_shortcuts.0.0.branches.0.conv.bias"] == 0
    assert decayed["backbone.stages.0.blocks.0.attn.w_msa.relative_position_bias_table"] == 0
    assert decayed["backbone.dw_shortcuts.0.0.branches.0.conv.weight"] == 0.05


@pytest.mark.parametrize("dataset", ["cifar10", "cifar100"])
def test_pipelines_enlarge_and_use_the_statistics_of_the_data_set(dataset):
    from mmpretrain.datasets import PackInputs  # noqa: F401  # registers the transforms
    from mmpretrain.registry import TRANSFORMS

    cfg = read_config(f"dw_shortcut/vit-t_shortcut_{dataset}.py")
    assert cfg.train_dataloader.dataset.type.lower() == dataset
    mean = cfg.data_preprocessor.mean
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        image = np.full((32, 32, 3), 100, dtype=np.uint8)
        result = dict(img=image, gt_label=1, img_shape=(32, 32), ori_shape=(32, 32))
        with scope_of("mmpretrain"):
            for step in loader.dataset.pipeline:
                result = TRANSFORMS.build(step)(result)
        assert result["inputs"].shape == (3, 224, 224)
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert steps["smallvit.RandomErasing"].mean == steps["smallvit.RandAugment"].fill == mean


def test_mask_rcnn_trains_on_images_that_are_not_square(digit_scenes):
    torch.manual_seed(0)
    cfg = read_config("dw_shortcut/swin-mini_shortcut_digits-det.py")
    cfg.train_dataloader.dataset.data_root = f"{digit_scenes}/"
    cfg.train_dataloader.batch_size = 2
    for step in cfg.train_dataloader.dataset.pipeline:
        if "Resize" in step.type:
            step.update(scale=(96, 64), keep_ratio=False)
    with scope_of(cfg):
        batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
    model = build(cfg).train()
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    data = model.data_preprocessor(batch, training=True)
    assert data["inputs"].shape[2:] == (64, 96)
    loss, _ = model.parse_losses(model(**data, mode="loss"))
    optimizer.backward(loss)
    # A parameter without gradient would stop distributed training.
    assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert all(p.grad.any() for p in model.backbone.dw_shortcuts.parameters())


def test_recipe_trains_and_resumes(tmp_path):
    cfg = read_config("dw_shortcut/vit-mini_shortcut_digits.py")
    cfg.work_dir = str(tmp_path)
    cfg.train_dataloader.batch_size = 4
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        loader.dataset.indices = 8
    cfg.train_cfg.update(max_epochs=1, val_interval=1)
    cfg.param_scheduler = []
    cfg.experiment_name = "first"
    first = Runner.from_cfg(cfg)
    first.train()
    trained = {key: value.clone() for key, value in first.model.state_dict().items()}
    assert trained["backbone.dw_shortcuts.0.0.branches.0.norm.num_batches_tracked"] == 2
    cfg.resume = True
    cfg.experiment_name = "second"
    second = Runner.from_cfg(cfg)
    second.train()  # all epochs are finished
    assert second.epoch == 1
    for key, value in second.model.state_dict().items():
        assert torch.equal(value, trained[key]), key
