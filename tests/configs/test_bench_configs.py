"""Bench configs: the recipe trains, and every method builds a network for the image size."""

import pytest
import torch
from mmengine.runner import Runner

from config_helpers import build, read_config, scope_of
from smallvit.bench.methods import BASES
from smallvit.bench.plan import BenchSettings, Run
from smallvit.bench.recipe import run_config


def config(method, size):
    settings = BenchSettings("/images", size, 16, True, "iters", 100)
    return run_config(settings, Run(method, None, 3, 100, 5), num_classes=7)


@pytest.mark.parametrize("size", [32, 224])
@pytest.mark.parametrize("name", [*BASES, "vit+shortcut", "dhvt+shortcut", "dvt+shortcut"])
def test_every_method_classifies_at_its_size(name, size, uninitialized):
    cfg = config(name, size)
    model = build(cfg).eval()
    with torch.no_grad():
        logits = model(torch.zeros(1, 3, size, size), mode="tensor")
    assert (logits[-1] if isinstance(logits, tuple) else logits).shape == (1, 7)
    assert "train_cfg" not in cfg.model
    assert cfg.model.head.loss.label_smooth_val == 0.1
    shortcuts = [key for key, _ in model.named_parameters() if "dw_shortcuts" in key]
    assert bool(shortcuts) == ("shortcut" in name)


@pytest.mark.parametrize("name", ["vit", "dvt", "dvt+shortcut", "dvt+guidance"])
def test_a_cascade_is_calibrated_on_the_validation_images(name):
    cfg = config(name, 32)
    assert ("calibration_dataloader" in cfg) == name.startswith("dvt")
    if name.startswith("dvt"):
        assert cfg.calibration_dataloader == cfg.val_dataloader


def test_any_timm_model_fits(uninitialized):
    for name, sized in (("timm:resnet18", False), ("timm:vit_tiny_patch16_224", True)):
        model = build(config(name, 48)).eval()
        with torch.no_grad():
            assert model(torch.zeros(1, 3, 48, 48), mode="tensor").shape == (1, 7)
        assert hasattr(model.backbone.timm_model, "patch_embed") == sized


@pytest.mark.parametrize("name", ["vit-mini_digits", "vit-mini_photos", "vit-t_photos"])
def test_the_recipe_can_be_trained_directly(name, tmp_path, uninitialized):
    import cv2

    from smallvit.datasets.digits import load_digit_images

    pictures, _ = load_digit_images()
    for number, label in enumerate("aabb"):
        (tmp_path / label).mkdir(exist_ok=True)
        cv2.imwrite(str(tmp_path / label / f"{number}.png"), pictures[number])
    cfg = read_config(f"bench/{name}.py")
    cfg.train_dataloader.batch_size = 2
    cfg.train_dataloader.dataset.data_root = str(tmp_path)
    if "digits" in name:
        del cfg.train_dataloader.dataset.data_root
    with scope_of(cfg):
        batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
    model = build(cfg)
    data = model.data_preprocessor(batch, training=True)
    assert data["inputs"].shape[-1] == cfg.model.backbone.img_size
    assert torch.isfinite(model(**data, mode="loss")["loss"])
