"""Hyperparameters of the recipes: learning rates, batch sizes, epochs, weight decay, augmentation.

The published numbers are in ``published_recipes.py``; ``test_recipes.py`` steps the schedules and
compares the curves.
"""

from dataclasses import asdict

import pytest
import yaml
from mmengine.config import Config

from config_helpers import CONFIGS, LEAVES, build, flat_steps, read_config
from published_recipes import RECIPES, STUDENTS, Recipe
from smallvit.hosts import view_host
from smallvit.plugins.locality_guidance.guidance import default_indices


def resolve(cfg: Config) -> Recipe:
    """Express the hyperparameters of a config in the terms of the sources."""
    optimizer = cfg.optim_wrapper.optimizer
    schedule = cfg.param_scheduler
    assert schedule.type in ("smallvit.WarmupCosineLR", "CosineAnnealingLR")
    steps = flat_steps(cfg.train_dataloader.dataset.pipeline)
    transforms = {step.type.split(".")[-1]: step for step in steps}
    mixing = {
        step.type: step.alpha for step in (cfg.model.get("train_cfg") or {}).get("augments", [])
    }
    return Recipe(
        lr=optimizer.lr,
        batch=cfg.auto_scale_lr.base_batch_size,
        epochs=cfg.train_cfg.max_epochs,
        warmup=schedule.get("warmup", 0),
        start_lr=_rate(schedule, "warmup_start", optimizer.lr),
        min_lr=_rate(schedule, "eta_min", optimizer.lr),
        decay=optimizer.weight_decay,
        drop_path=_drop_path(cfg.model.backbone),
        clip=cfg.optim_wrapper.get("clip_grad", {}).get("max_norm"),
        optimizer=optimizer.type,
        mixup=mixing.get("Mixup", 0),
        cutmix=mixing.get("CutMix", 0),
        smoothing=(cfg.model.head.get("loss") or {}).get("label_smooth_val", 0),
        augment=transforms["RandAugment"].policy if "RandAugment" in transforms else None,
        erasing=transforms["RandomErasing"].get("erase_prob", 0.25)
        if "RandomErasing" in transforms
        else 0,
        repeated=cfg.train_dataloader.sampler.type == "RepeatAugSampler",
    )


def _rate(schedule: dict, name: str, peak: float) -> float:
    ratio = schedule.get(f"{name}_ratio")
    return schedule.get(name, 0) if ratio is None else ratio * peak


def _erase_prob(step: dict | None) -> float:
    return 0 if step is None else step.get("erase_prob", 0.25)


def _drop_path(backbone: dict) -> float:
    if "exits" in backbone:
        (rate,) = {network.drop_path_rate for network in backbone.exits}
        return rate
    rate = backbone.get("drop_path_rate", 0)
    return rate[-1] if isinstance(rate, (list, tuple)) else rate


@pytest.mark.parametrize("name", RECIPES)
def test_recipe_is_the_published_one(name):
    assert asdict(resolve(read_config(name))) == pytest.approx(asdict(RECIPES[name]))


def test_every_published_accuracy_has_its_recipe_here():
    published = set()
    for path in CONFIGS.glob("*/metafile.yml"):
        for model in yaml.safe_load(path.read_text())["Models"]:
            if any(
                "Top 1 Accuracy" in result.get("Metrics", {}) for result in model.get("Results", [])
            ):
                published.add(model["Config"].removeprefix("configs/"))
    assert len(published) > 100
    # Students on other datasets use the recipe of CIFAR-100.
    further = {name for name in published if name.startswith("locality_guidance")}
    assert published - further <= set(RECIPES) <= set(LEAVES)


@pytest.mark.parametrize("student", STUDENTS)
def test_students_are_guided_as_published(student):
    """tiny-transformers: configs/*/*_c100_ours.yaml"""
    guidance = read_config(f"locality_guidance/{student}_guided_cifar100.py").model.guidance
    assert tuple(guidance.student_indices) == STUDENTS[student]
    assert guidance.loss_weight == 2.5
    assert (guidance.teacher.size, tuple(guidance.teacher.stages)) == (32, (0, 1, 2))
    assert guidance.teacher.batch_statistics  # trainer.py: model.train() includes the teacher


@pytest.mark.parametrize("student", STUDENTS)
@pytest.mark.parametrize("data", ["flowers102", "chaoyang", "tiny-imagenet"])
def test_students_on_other_datasets_are_guided_equally(student, data):
    cfg = read_config(f"locality_guidance/{student}_guided_{data}.py")
    other = read_config(f"locality_guidance/{student}_guided_cifar100.py")
    ours, theirs = cfg.model.guidance, other.model.guidance
    assert ours.teacher.pop("model") == f"smallvit::locality_guidance/resnet-56_{data}.py"
    assert ours.teacher.pop("checkpoint") == f"work_dirs/resnet-56_{data}/epoch_300.pth"
    theirs.teacher.pop("model"), theirs.teacher.pop("checkpoint")
    assert ours == theirs
    assert cfg.model.backbone == other.model.backbone
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes
    assert (
        cfg.train_dataloader.dataset.type
        == read_config(f"locality_guidance/resnet-56_{data}.py").train_dataloader.dataset.type
    )


@pytest.mark.parametrize("student", STUDENTS)
def test_the_published_blocks_are_the_default(student, without_weights):
    view = view_host(build(read_config(f"locality_guidance/{student}_cifar100.py")).backbone)
    assert tuple(map(view.index, default_indices(view))) == STUDENTS[student]


@pytest.mark.parametrize("size", [12, 14])
@pytest.mark.parametrize("classes", [10, 100])
def test_cascades_are_transferred_as_t2t_vit(size, classes):
    """T2T-ViT's transfer_learning.py: --transfer-ratio 0.01, images only cropped and flipped."""
    cfg = read_config(f"dvt/dvt-t2t-{size}_cifar{classes}.py")
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys == dict(backbone=dict(lr_mult=0.01))
    assert cfg.optim_wrapper.optimizer.momentum == 0.9
    steps = cfg.train_dataloader.dataset.pipeline
    assert [step.type for step in steps] == ["Resize", "RandomCrop", "RandomFlip", "PackInputs"]
    assert (steps[0].scale, steps[1].crop_size, steps[1].padding) == (224, 224, 224 // 8)
    deviation = [value / 255 for value in cfg.data_preprocessor.std]
    assert deviation == pytest.approx([0.2023, 0.1994, 0.2010])
    assert cfg.model.head.num_classes == cfg.data_preprocessor.num_classes == classes


def test_cascades_are_averaged_as_published():
    """Dynamic-Vision-Transformer: --model-ema-decay 0.99996 in main.py"""
    hooks = read_config("dvt/dvt-t2t-12_in1k.py").custom_hooks
    assert hooks[0].type == "EMAHook"
    assert 1 - hooks[0].momentum == pytest.approx(0.99996)


@pytest.mark.parametrize(
    "name",
    ["swin-t_coco", "swin-t_shortcut_coco", "swin-t_cascade_coco", "swin-t_shortcut-cascade_coco"],
)
def test_shortcut_detectors_are_the_published_ones(name):
    """From the paper: 4 GPUs with 2 images each, 5e-5, 500 warmup iterations, 12 epochs."""
    cfg = read_config(f"dw_shortcut/{name}.py")
    warmup, steps = cfg.param_scheduler
    assert (cfg.optim_wrapper.optimizer.type, cfg.optim_wrapper.optimizer.lr) == ("AdamW", 5e-5)
    assert cfg.auto_scale_lr.base_batch_size == 8
    assert cfg.train_cfg.max_epochs == steps.end == 12
    assert (warmup.end, warmup.by_epoch, steps.milestones) == (501, False, [8, 11])
    assert cfg.model.backbone.get("init_cfg") is None  # trained from scratch
