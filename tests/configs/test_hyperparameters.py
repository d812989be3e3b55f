"""The recipes say what was published: rates, batches, epochs, decay, augmentation.

The numbers are typed from the sources that are named beside them, never read from a config.
``test_recipes.py`` steps the schedules and compares the curves.
"""

from dataclasses import asdict, dataclass, replace

import pytest
import yaml
from mmengine.config import Config

from config_helpers import CONFIGS, LEAVES, read_config
from fake_data import DOMAINS

SMALL = ("cifar10", "cifar100", "tiny-imagenet")


@dataclass
class Recipe:
    """What a source says of a training; ``lr`` holds for ``batch`` images in a step."""

    lr: float
    batch: int
    epochs: int
    warmup: int
    start_lr: float
    min_lr: float
    decay: float
    drop_path: float
    clip: float | None = None
    optimizer: str = "AdamW"
    mixup: float = 0.8
    cutmix: float = 1.0
    smoothing: float = 0.1
    augment: str | None = "rand-m9-mstd0.5-inc1"  # as timm writes it
    erasing: float = 0.25
    repeated: bool = False


# main.py (defaults of DeiT, rate scaled by batch/512) with run_code_cifar.sh; the paper trains the
# small model with half of the batch.
DHVT_CIFAR = Recipe(1e-3, 512, 300, 5, 1e-6, 1e-5, 0.05, 0.1, repeated=True)
DHVT_CIFAR_SMALL = replace(DHVT_CIFAR, lr=5e-4, batch=256)
# run_code_domain.sh, likewise
DHVT_DOMAIN = replace(DHVT_CIFAR, lr=5e-4, batch=256, warmup=20)
DHVT_DOMAIN_SMALL = replace(DHVT_DOMAIN, lr=2.5e-4, batch=128)
# run_code_imn.sh
DHVT_IMAGENET = replace(DHVT_CIFAR, lr=2.5e-4, batch=256, warmup=10)
# finetune.sh; main.py keeps the network in evaluation mode, which has no stochastic depth.
DHVT_FINETUNE = Recipe(2.5e-4, 256, 100, 2, 1e-6, 1e-6, 1e-8, 0.0)
# Section 4.3 of the paper
DHVT_ABLATION = replace(DHVT_CIFAR, warmup=10)

# DemystifyLocalViT: config.py, rates scaled by batch/512; configs/*.yaml; README, section 2
DWNET = Recipe(1e-3, 1024, 300, 20, 1e-6, 1e-5, 0.05, 0.2, clip=5.0)

# Efficient_ViT_with_DW: config.py and configs/{vit,cait,swin}/*.yaml; batch in the paper's settings
SHORTCUT = Recipe(5e-4, 512, 300, 20, 5e-7, 5e-6, 0.05, 0.0, clip=5.0)
SHORTCUT_SWIN = replace(SHORTCUT, lr=2.5e-4, start_lr=2.5e-7, min_lr=2.5e-6, drop_path=0.2)
# The paper's section on ImageNet-1K: batch 1024 and 1e-3
SHORTCUT_IMAGENET = replace(SHORTCUT, lr=1e-3, batch=1024, start_lr=1e-6, min_lr=1e-5)

# Dynamic-Vision-Transformer: README (two commands) and defaults of main.py; 10 epochs of cool-down
DVT_12 = Recipe(2e-3, 1024, 310, 20, 1e-6, 1e-5, 0.03, 0.1)
DVT_14 = replace(DVT_12, lr=5e-4, batch=512, decay=0.05)
# No script was published; DeiT's main.py, which has 5e-4 for 512 images
DVT_DEIT = replace(DVT_12, lr=1e-3, epochs=300, warmup=5, decay=0.05, repeated=True)
PLAIN = dict(mixup=0, cutmix=0, smoothing=0)
# T2T-ViT's transfer_learning.py, to which DVT's README refers, with --lr 0.05 --b 64 of its README
DVT_TRANSFER = Recipe(
    0.05, 64, 60, 0, 0, 2e-4, 5e-4, 0.1, optimizer="SGD", augment=None, erasing=0, **PLAIN
)

# tiny-transformers: configs/*/*_c100_{base,ours}.yaml
GUIDED = Recipe(5e-4, 128, 300, 20, 5e-7, 5e-6, 0.05, 0.1, **PLAIN)
# configs/resnet/r-*_c100.yaml
TEACHER = Recipe(0.1, 128, 300, 0, 0, 0, 5e-4, 0, optimizer="SGD", **PLAIN)

RECIPES: dict[str, Recipe] = {}


def _add(folder: str, recipe: Recipe, *names: str) -> None:
    RECIPES.update({f"{folder}/{name}.py": recipe for name in names})


for _kind in ("dhvt", "deit"):
    for _patch in (2, 4):
        _sets = ("cifar10", "cifar100") if _kind == "dhvt" else ("cifar100",)
        _add("dhvt", DHVT_CIFAR, *(f"{_kind}-t-p{_patch}_{name}" for name in _sets))
        _add("dhvt", DHVT_CIFAR_SMALL, *(f"{_kind}-s-p{_patch}_{name}" for name in _sets))
_add("dhvt", DHVT_DOMAIN, *(f"dhvt-t_{name}" for name in DOMAINS))
_add("dhvt", DHVT_DOMAIN_SMALL, *(f"dhvt-s_{name}" for name in DOMAINS))
_add("dhvt", DHVT_IMAGENET, "dhvt-t_in1k", "dhvt-s_in1k")
for _name in ("cifar100", "clipart", "painting", "sketch"):
    _add("dhvt", DHVT_FINETUNE, f"dhvt-t_finetune_{_name}", f"dhvt-s_finetune_{_name}")
for _part in ("pos", "none", "pos-sope", "sope", "pos-daff", "daff", "pos-sope-daff", "sope-daff"):
    _add("dhvt", DHVT_ABLATION, f"dhvt-t-p4_ablation-{_part}_cifar100")
_add("dhvt", DHVT_ABLATION, "dhvt-t-p4_ablation_cifar100", "dhvt-t-p4_ablation-pos-heads_cifar100")

for _variant in ("", "dynamic_", "inhomogeneous_"):
    _add("dwnet", DWNET, f"dwnet-t_{_variant}in1k")
    _add("dwnet", replace(DWNET, drop_path=0.5), f"dwnet-b_{_variant}in1k")

_VIT = ["{}", "nopos_{}", "shortcut_{}", "shortcut-nopos_{}"]
_KERNELS = [f"shortcut-nopos-{kernels}_{{}}" for kernels in ("k5", "k7", "k3-5", "k3-5-7")]
_BYPASS = [f"shortcut-bare-bypass{blocks}_{{}}" for blocks in (2, 3, 4)]
_CAIT = ["{}", "shortcut_{}", "shortcut-bare_{}", *_BYPASS]
_SWIN = ["{}", "noshift_{}", "shortcut_{}", "shortcut-noshift_{}", "shortcut-k3-5_{}"]
for _name in SMALL:
    for _model, _rows, _recipe in (
        ("vit-t", [*_VIT, *_KERNELS], SHORTCUT),
        ("vit-s", _VIT, SHORTCUT),
        ("cait-xxs12", [*_CAIT, "bare_{}"], SHORTCUT),
        ("cait-xxs24", _CAIT, SHORTCUT),
        ("swin-t", _SWIN, SHORTCUT_SWIN),
    ):
        _add("dw_shortcut", _recipe, *(f"{_model}_{row.format(_name)}" for row in _rows))
for _model in ("cait-xxs12", "cait-xxs24"):
    _add("dw_shortcut", SHORTCUT_IMAGENET, f"{_model}_in1k", f"{_model}_shortcut_in1k")
_SWIN_IMAGENET = replace(SHORTCUT_IMAGENET, drop_path=0.2)
_add("dw_shortcut", _SWIN_IMAGENET, "swin-t_in1k", "swin-t_shortcut_in1k")

_add("dvt", DVT_12, "dvt-t2t-12_in1k")
_add("dvt", DVT_14, "dvt-t2t-14_in1k")
_add("dvt", DVT_DEIT, "dvt-deit-s_in1k")
for _size in (12, 14):
    _add("dvt", DVT_TRANSFER, f"dvt-t2t-{_size}_cifar10", f"dvt-t2t-{_size}_cifar100")

#: Students of tiny-transformers, and the blocks that follow the teacher's stages.
STUDENTS = {
    "deit-ti": (0, 6, 11),
    "convit-ti": (0, 6, 11),
    "pit-ti": (0, 6, 11),
    "cvt-13": (0, 6, 11),
    "t2t-vit-7": (0, 3, 6),
    "t2t-vit-14": (0, 7, 13),
    "pvt-ti": (0, 3, 7),
    "pvtv2-b0": (0, 3, 7),
}
for _model in STUDENTS:
    # PiT's rates of stochastic depth stop one of 12 steps before the given one (pit.py).
    _recipe = replace(GUIDED, drop_path=0.1 * 11 / 12) if _model == "pit-ti" else GUIDED
    _add("locality_guidance", _recipe, f"{_model}_cifar100", f"{_model}_guided_cifar100")
_add("locality_guidance", TEACHER, "resnet-56_cifar100", "resnet-18_cifar100")


def resolve(cfg: Config) -> Recipe:
    """What a config says, in the terms of the sources."""
    optimizer = cfg.optim_wrapper.optimizer
    schedule = cfg.param_scheduler
    assert schedule.type in ("smallvit.WarmupCosineLR", "CosineAnnealingLR")
    transforms = {step.type.split(".")[-1]: step for step in cfg.train_dataloader.dataset.pipeline}
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
        augment=_timm_name(transforms.get("RandAugment")),
        erasing=transforms["RandomErasing"].erase_prob if "RandomErasing" in transforms else 0,
        repeated=cfg.train_dataloader.sampler.type == "RepeatAugSampler",
    )


def _rate(schedule: dict, name: str, peak: float) -> float:
    ratio = schedule.get(f"{name}_ratio")
    return schedule.get(name, 0) if ratio is None else ratio * peak


def _timm_name(step: dict | None) -> str | None:
    if step is None:
        return None
    assert (step.policies, step.num_policies) == ("timm_increasing", 2)
    return f"rand-m{step.magnitude_level}-mstd{step.magnitude_std}-inc1"


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
    # The students on further sets follow the recipe of CIFAR-100.
    further = {name for name in published if name.startswith("locality_guidance")}
    assert published - further <= set(RECIPES) <= set(LEAVES)


@pytest.mark.parametrize("student", STUDENTS)
def test_students_are_guided_as_published(student):
    """tiny-transformers: configs/*/*_c100_ours.yaml"""
    guidance = read_config(f"locality_guidance/{student}_guided_cifar100.py").model.guidance
    assert tuple(guidance.student_indices) == STUDENTS[student]
    assert guidance.loss_weight == 2.5
    assert (guidance.teacher.size, tuple(guidance.teacher.stages)) == (32, (0, 1, 2))


@pytest.mark.parametrize("size", [12, 14])
@pytest.mark.parametrize("classes", [10, 100])
def test_cascades_are_transferred_as_t2t_vit(size, classes):
    """T2T-ViT's transfer_learning.py: --transfer-ratio 0.01, pictures cropped and flipped only."""
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
    """The paper on detection: 4 GPUs with 2 images each, 5e-5, 500 iterations, 12 epochs."""
    cfg = read_config(f"dw_shortcut/{name}.py")
    warmup, steps = cfg.param_scheduler
    assert (cfg.optim_wrapper.optimizer.type, cfg.optim_wrapper.optimizer.lr) == ("AdamW", 5e-5)
    assert cfg.auto_scale_lr.base_batch_size == 8
    assert cfg.train_cfg.max_epochs == steps.end == 12
    assert (warmup.end, warmup.by_epoch, steps.milestones) == (501, False, [8, 11])
    assert cfg.model.backbone.get("init_cfg") is None  # from scratch
