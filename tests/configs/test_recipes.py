"""Recipes compared with the official training runs: learning rates, batch sizes, augmentation, EMA.

The official numbers are in ``tests/data/recipes``: schedulers stepped as in the official training
loops, and other settings read from their sources. ``smallvit recipe`` prints ours.
"""

import json
import math
from fnmatch import fnmatch
from functools import cache

import pytest
from mmengine.config import Config

from config_helpers import LEAVES, ROOT, read_config
from published_recipes import RECIPES, STUDENTS, Recipe
from recipe_terms import official_terms
from smallvit.analysis.recipe.loader import count_images, count_iterations
from smallvit.analysis.recipe.schedule import LRCurve, learning_rates, training_length

FAMILIES = ("dhvt", "dvt", "dw_shortcut", "dwnet", "locality_guidance")
ENTRIES = {
    name: entry
    for family in FAMILIES
    for entry in json.loads((ROOT / f"tests/data/recipes/{family}.json").read_text())
    for name in entry["configs"]
}

#: Known differences by field and config pattern: ours, official, and the size of the effect. An
#: entry that no longer applies, or whose values changed, fails.
DIFFERENCES: dict[str, dict[str, tuple[object, object, str]]] = {
    "ema": {
        "dhvt/*": (
            None,
            {"decay": 0.99996, "evaluated": False},
            "nothing of what is trained or published: the average is stored, never evaluated",
        ),
    },
    "test": {
        "locality_guidance/resnet-56_cifar100.py": (
            None,
            {"resize": "(S, S) bilinear, no crop"},
            "0 of 255: images of 32x32 are resized to 32x32",
        ),
    },
    "token_module_dropout": {
        "dvt/dvt-deit-s_in1k.py": (0.0, 0.1, "no module: DeiT has no token transformer"),
    },
}
#: Compared in other tests: norms with the built models, and averaged weights of a cascade, which
#: are the ones in its checkpoint.
ELSEWHERE = {"batch_norm", "ema_weights_loaded"}

#: Configs whose recipe has no official numbers, and the reason.
UNCHECKED = {
    "*/*digits*.py": "ours, for minutes on a CPU",
    "*/*_folder.py": "ours, for images of one's own",
    "*/*_custom-*.py": "ours, for objects and label maps of one's own",
    "pretrain/*.py": "ours: pretraining without labels was not published for these networks",
    "bench/*.py": "ours, for the comparison of methods",
    "dhvt/*_coco.py": "ours: no detector was published",
    "dhvt/*_ade20k.py": "ours: no segmentor was published",
    "dhvt/*_inat1?.py": "no script was published: the recipe of ImageNet",
    "dwnet/dwnet-?_coco.py": "ours: Mask R-CNN was not published",
    "dwnet/dwnet-?_dynamic_coco.py": "ours: Mask R-CNN was not published",
    "dwnet/dwnet-?_inhomogeneous_[ca]*.py": "ours: only the classifier was published",
    "dwnet/dwnet-t_cifar*.py": "ours: DWNet was not published on small sets",
    "dwnet/dwnet-t_tiny-imagenet.py": "ours: DWNet was not published on small sets",
    "dw_shortcut/*_coco.py": "the paper's numbers alone: test_hyperparameters.py",
    "dw_shortcut/*_ade20k.py": "the paper gives no settings of its segmentors",
    "locality_guidance/*_coco.py": "ours: no detector was published",
    "locality_guidance/*_ade20k.py": "ours: no segmentor was published",
}
#: Configs that follow an official recipe but are not listed in its numbers.
SHARED = {
    "dw_shortcut/vit-t_shortcut-bypass2_cifar100.py": "dw_shortcut/vit-t_shortcut_cifar100.py",
    "dw_shortcut/vit-?_shortcut_in1k.py": "dw_shortcut/cait-xxs12_in1k.py",
    "dvt/dvt-t2t-12_no*_in1k.py": "dvt/dvt-t2t-12_in1k.py",
    "locality_guidance/deit-ti_guided-offline_cifar100.py": "locality_guidance/deit-ti_cifar100.py",
    **{
        f"locality_guidance/{student}_*.py": f"locality_guidance/{student}_cifar100.py"
        for student in STUDENTS
    },
    "locality_guidance/resnet-*_*.py": "locality_guidance/resnet-56_cifar100.py",
}


@cache
def _curves(settings: str, epoch_length: int | None, multipliers: tuple) -> list[LRCurve]:
    return learning_rates(Config(json.loads(settings)), epoch_length, multipliers)


def curves(cfg: Config, multipliers: tuple = (1.0,)) -> list[LRCurve]:
    """Step the schedule once for all configs that share it."""
    kept = {
        "param_scheduler": cfg.param_scheduler,
        "train_cfg": cfg.train_cfg,
        "default_scope": cfg.default_scope,
        "optim_wrapper": {"optimizer": {"lr": cfg.optim_wrapper.optimizer.lr}},
    }
    length = count_iterations(cfg, count_images(cfg))
    return _curves(json.dumps(kept, sort_keys=True), length, multipliers)


@cache
def terms_of(name: str) -> dict:
    """Describe a config in official terms; the result is shared and must not be modified."""
    return official_terms(read_config(name))


def assert_rates(found: dict, expected: dict[str, float], peak: float) -> None:
    """Compare learning rates to within a millionth of the maximum."""
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=0, abs=1e-6 * peak)


@pytest.mark.parametrize("name", [name for name in ENTRIES if "sum" in str(ENTRIES[name]["lr"])])
def test_rates_are_the_official_ones(name):
    expected = ENTRIES[name]["lr"]
    (curve,) = curves(read_config(name))
    _compare_curve(curve, expected)


def _compare_curve(curve: LRCurve, expected: dict) -> None:
    for key, value in expected.items():
        if key in ("at_epoch_start", "epoch_mean"):
            means = curve.epoch_means()
            rates = {
                epoch: curve.at_epoch(int(epoch)) if key == "at_epoch_start" else means[int(epoch)]
                for epoch in value
            }
            assert_rates(rates, value, curve.peak)
        elif key == "at_iteration":
            rates = {iteration: curve.rates[int(iteration)] for iteration in value}
            assert_rates(rates, value, curve.peak)
        elif key.startswith("sum_over"):
            assert curve.total() == pytest.approx(value, rel=1e-6)
        elif key == "epochs":
            assert curve.epochs == value
        else:
            assert (key, curve.epoch_length) == ("iterations_per_epoch", value)


@pytest.mark.parametrize("name", [name for name in ENTRIES if "cascade-3x" in name])
def test_rates_of_detectors_are_the_official_ones(name):
    (curve,) = curves(read_config(name))
    _compare_curve(curve, ENTRIES[name]["lr"])


@pytest.mark.parametrize("name", [name for name in ENTRIES if "head" in ENTRIES[name]["lr"]])
def test_rates_of_head_and_backbone_are_the_official_ones(name):
    cfg = read_config(name)
    factor = cfg.optim_wrapper.paramwise_cfg.custom_keys.backbone.lr_mult
    for part, curve in zip(("head", "backbone"), curves(cfg, (1.0, factor)), strict=True):
        expected = ENTRIES[name]["lr"][part]
        rates = {epoch: curve.at_epoch(int(epoch)) for epoch in expected}
        assert_rates(rates, expected, curve.peak)


def test_every_rate_is_compared():
    compared = [
        name
        for name, entry in ENTRIES.items()
        if "sum" in str(entry["lr"]) or "cascade-3x" in name or "head" in entry["lr"]
    ]
    assert compared == list(ENTRIES)


def rule(recipe: Recipe, name: str, step: float, epoch_length: int) -> float:
    """Official learning rate at the first iteration of an epoch, with published settings.

    timm's formula, in the unit used by the official loop of the model family.
    """
    by_iteration = name.startswith(("dwnet/", "dw_shortcut/"))
    late = by_iteration or name.startswith("dhvt/")
    prefix = name.startswith("dw_shortcut/")
    unit = epoch_length if by_iteration else 1
    step = max(step * unit - late, 0) / unit
    if step < recipe.warmup:
        return recipe.start_lr + (recipe.lr - recipe.start_lr) * step / recipe.warmup
    cooling = 10 if name.startswith("dvt/dvt-t2t") and recipe.epochs == 310 else 0
    begin = recipe.warmup if prefix else 0
    part = min((step - begin) / (recipe.epochs - cooling - begin), 1)
    return recipe.min_lr + (recipe.lr - recipe.min_lr) * (1 + math.cos(math.pi * part)) / 2


@pytest.mark.parametrize("name", RECIPES)
def test_rates_follow_the_rule_of_the_official_loop(name):
    """This includes configs without official numbers."""
    (curve,) = curves(read_config(name))
    epochs = sorted({*range(25), *range(25, curve.epochs, 11), curve.epochs - 1})
    expected = {
        epoch: rule(RECIPES[name], name, epoch, curve.epoch_length)
        for epoch in epochs
        if epoch < curve.epochs
    }
    assert_rates({epoch: curve.at_epoch(epoch) for epoch in expected}, expected, curve.peak)


@pytest.mark.parametrize("name", ENTRIES)
def test_settings_are_the_official_ones(name):
    ours = terms_of(name)
    expected = ENTRIES[name]["other"]
    compared = set(expected) - ELSEWHERE
    assert compared <= set(ours)
    differing = {key: (ours[key], expected[key]) for key in compared if ours[key] != expected[key]}
    allowed = {
        field: (own, official)
        for field, patterns in DIFFERENCES.items()
        for pattern, (own, official, _) in patterns.items()
        if field in compared and fnmatch(name, pattern)
    }
    assert differing == allowed


@pytest.mark.parametrize("name", LEAVES)
def test_own_data_keeps_its_last_batch(name):
    """Class folders, digits and the bench have few images, all of which are used."""
    if any(part in name for part in ("_folder", "digits", "bench/")):
        cfg = read_config(name)
        assert not cfg.train_dataloader.get("drop_last")
        assert not cfg.env_cfg.get("cudnn_benchmark")


def test_every_config_is_compared_or_listed():
    for name in LEAVES:
        known = name in ENTRIES or name in RECIPES
        shared = [pattern for pattern in SHARED if fnmatch(name, pattern)]
        unchecked = [pattern for pattern in UNCHECKED if fnmatch(name, pattern)]
        assert known or shared or unchecked, f"{name}: has no official numbers and is not listed"
        assert not (name in ENTRIES and unchecked), f"{name}: has official numbers, but is listed"
    for pattern in (*SHARED, *UNCHECKED):
        assert any(fnmatch(name, pattern) for name in LEAVES), f"{pattern}: no config matches"


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in LEAVES
        if name not in RECIPES
        and any(fnmatch(name, pattern) for pattern in SHARED)
        and not any(fnmatch(name, pattern) for pattern in UNCHECKED)
    ],
)
def test_further_data_sets_share_the_recipe(name):
    pattern = next(pattern for pattern in SHARED if fnmatch(name, pattern))
    ours, other = read_config(name), read_config(SHARED[pattern])
    assert ours.param_scheduler == other.param_scheduler
    assert training_length(ours) == training_length(other)
    assert ours.optim_wrapper.optimizer == other.optim_wrapper.optimizer
    # Test crop and fill color depend on the images of a dataset.
    ours, other = (
        {**terms, "test": None, "train": {**terms["train"], "first": None}}
        for terms in (terms_of(name), terms_of(SHARED[pattern]))
    )
    assert ours == other
