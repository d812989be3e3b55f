"""Published recipes, transcribed from the sources in the comments.

They are never read from a config.
"""

from dataclasses import dataclass, replace

from fake_data import DOMAINS

SMALL = ("cifar10", "cifar100", "tiny-imagenet")


@dataclass
class Recipe:
    """Hyperparameters of a training run; ``lr`` is for ``batch`` images per step."""

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
    augment: str | None = "rand-m9-mstd0.5-inc1"  # in timm's notation
    erasing: float = 0.25
    repeated: bool = False


# main.py (defaults of DeiT, learning rate scaled by batch/512) with run_code_cifar.sh; the paper
# trains the small model with half the batch size.
DHVT_CIFAR = Recipe(1e-3, 512, 300, 5, 1e-6, 1e-5, 0.05, 0.1, repeated=True)
DHVT_CIFAR_SMALL = replace(DHVT_CIFAR, lr=5e-4, batch=256)
# run_code_domain.sh, same scaling
DHVT_DOMAIN = replace(DHVT_CIFAR, lr=5e-4, batch=256, warmup=20)
DHVT_DOMAIN_SMALL = replace(DHVT_DOMAIN, lr=2.5e-4, batch=128)
# run_code_imn.sh
DHVT_IMAGENET = replace(DHVT_CIFAR, lr=2.5e-4, batch=256, warmup=10)
# finetune.sh; main.py keeps the network in eval mode, which disables stochastic depth.
DHVT_FINETUNE = Recipe(2.5e-4, 256, 100, 2, 1e-6, 1e-6, 1e-8, 0.0)
# Section 4.3 of the paper
DHVT_ABLATION = replace(DHVT_CIFAR, warmup=10)

# DemystifyLocalViT: config.py, learning rates scaled by batch/512; configs/*.yaml; README, section
# 2
DWNET = Recipe(1e-3, 1024, 300, 20, 1e-6, 1e-5, 0.05, 0.2, clip=5.0)

# Efficient_ViT_with_DW: config.py and configs/{vit,cait,swin}/*.yaml; batch size from the paper
SHORTCUT = Recipe(5e-4, 512, 300, 20, 5e-7, 5e-6, 0.05, 0.0, clip=5.0)
SHORTCUT_SWIN = replace(SHORTCUT, lr=2.5e-4, start_lr=2.5e-7, min_lr=2.5e-6, drop_path=0.2)
# Section on ImageNet-1K in the paper: batch size 1024, learning rate 1e-3
SHORTCUT_IMAGENET = replace(SHORTCUT, lr=1e-3, batch=1024, start_lr=1e-6, min_lr=1e-5)

# Dynamic-Vision-Transformer: README (two commands) and defaults of main.py; 10 cooldown epochs
DVT_12 = Recipe(2e-3, 1024, 310, 20, 1e-6, 1e-5, 0.03, 0.1)
DVT_14 = replace(DVT_12, lr=5e-4, batch=512, decay=0.05)
# No script was published; main.py of DeiT, which uses 5e-4 for 512 images
DVT_DEIT = replace(DVT_12, lr=1e-3, epochs=300, warmup=5, decay=0.05, repeated=True)
PLAIN = dict(mixup=0, cutmix=0, smoothing=0)
# transfer_learning.py of T2T-ViT, to which DVT's README refers, with --lr 0.05 --b 64 from its
# README
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
for _part in ("noaffine", "noshortcut", "noexcitation"):
    _add("dhvt", DHVT_ABLATION, f"dhvt-t-p4_ablation-{_part}_cifar100")

for _variant in ("", "dynamic_", "inhomogeneous_"):
    _add("dwnet", DWNET, f"dwnet-t_{_variant}in1k")
    _add("dwnet", replace(DWNET, drop_path=0.5), f"dwnet-b_{_variant}in1k")

_VIT = ["{}", "nopos_{}", "shortcut_{}", "shortcut-nopos_{}"]
_KERNELS = [
    f"shortcut-nopos-{kernels}_{{}}" for kernels in ("k5", "k7", "k3-5", "k3-5-7", "identity")
]
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

#: Students of tiny-transformers, and the blocks that correspond to the teacher's stages.
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
    # The stochastic depth schedule of PiT ends one of 12 steps before the given rate (pit.py).
    _recipe = replace(GUIDED, drop_path=0.1 * 11 / 12) if _model == "pit-ti" else GUIDED
    _add("locality_guidance", _recipe, f"{_model}_cifar100", f"{_model}_guided_cifar100")
_add("locality_guidance", TEACHER, "resnet-56_cifar100", "resnet-18_cifar100")
