"""Initial state of training: weights, weight decay, norms and stochastic depth as in official code.

The expected numbers were computed with the official codes, by building models with their own
constructors and applying their weight decay rules (``tests/data/recipes/weights.json``).
"""

import json
from pathlib import Path

import pytest

from config_helpers import LEAVES, build, read_config, use_mini
from smallvit.analysis.recipe import weights
from smallvit.analysis.recipe.names import named_tensors
from weight_checks import described, initial_deviations, network, other_deviations

pytestmark = pytest.mark.usefixtures("quick_build")

EXPECTED = json.loads((Path(__file__).parents[1] / "data" / "recipes" / "weights.json").read_text())
del EXPECTED["_about"]
BUILT = [name for name in EXPECTED if "init" in EXPECTED[name]]
#: Entries that only cover weight decay: the official class cannot be built, but has a rule by name.
NAMED = [name for name in EXPECTED if name not in BUILT]
#: Entries that take the longest to initialize.
LARGE = ("dvt/dvt-deit-s_in1k.py", "dhvt/dhvt-s-p4_cifar100.py")

#: Known deviations by config, as (ours, official). Each is listed under "Differences from the
#: official code" in its README; an entry that no longer applies fails the test.
ALLOWED: dict[str, dict[str, tuple]] = {}


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.exhaustive) if n in LARGE else n for n in BUILT]
)
def test_training_starts_as_officially(name):
    ours, official = described(name), EXPECTED[name]
    found = initial_deviations(ours["init"], official["init"], official["seeds"])
    found |= other_deviations(ours, official)
    assert found == ALLOWED.get(name, {})


@pytest.mark.parametrize("name", NAMED)
def test_decay_by_name(name):
    """Parameters with more than one dimension; official names are suffixes of ours."""
    cfg, model = read_config(name), network(name)
    settings = weights.optimizer_settings(cfg, model)
    exempt = {
        parameter.rpartition(".")[2]
        for parameter, tensor in named_tensors(model).items()
        if tensor.value.dim() > 1 and settings[parameter][0] == 0
    }
    official = EXPECTED[name]
    assert exempt == {"cls_token", "pos_embed"} <= set(official["exempt_with_dims"])
    assert {decay for decay, _ in settings.values()} == {0, official["decay"]}


@pytest.mark.parametrize(
    ("with_it", "without"),
    [("vit-t", "vit-t_nopos"), ("vit-t_shortcut", "vit-t_shortcut-nopos")],
)
def test_without_position_embedding_begins_as_with_it(with_it, without):
    """The ablation removes the position embedding without changing the initialization."""
    left_out = ("pos_embed", "dw_shortcuts")
    both = [
        [
            parameter.detach()
            for key, parameter in network(f"dw_shortcut/{name}_cifar100.py").named_parameters()
            if not any(word in key for word in left_out)
        ]
        for name in (with_it, without)
    ]
    for theirs, ours in zip(*both, strict=True):  # same order, different names
        assert ours.shape == theirs.shape
        assert ours.std().item() == pytest.approx(theirs.std().item(), rel=5 / ours.numel() ** 0.5)
        bound = 5 * theirs.std().item() / ours.numel() ** 0.5
        assert ours.mean().item() == pytest.approx(theirs.mean().item(), abs=bound)


DENSE = ["dwnet-t_coco", "dwnet-t_dynamic-cascade-3x_coco", "dwnet-t_ade20k"]


@pytest.mark.parametrize("name", DENSE)
def test_norms_of_detectors_decay_by_their_official_names(name, uninitialized):
    """downstreams/*/configs: custom keys "norm" and "absolute_pos_embed" disable weight decay."""
    cfg = read_config(f"dwnet/{name}.py")
    model = build(use_mini(cfg))
    settings = weights.optimizer_settings(cfg, model)
    official = named_tensors(model, "dwnet")
    assert "backbone.norm0.weight" in official
    for key, tensor in official.items():
        exempt = "norm" in key or "absolute_pos_embed" in key
        (source,) = tensor.sources
        assert (settings[source][0] == 0) == exempt, key


#: Prefixes of names, and the entry whose weights and weight decay they share.
FAMILIES = {
    "dhvt/dhvt-": "dhvt/dhvt-t-p4_cifar100.py",
    "dhvt/deit-": "dhvt/deit-t-p4_cifar100.py",
    "dw_shortcut/vit-": "dw_shortcut/vit-t_shortcut_cifar100.py",
    "dw_shortcut/cait-": "dw_shortcut/cait-xxs12_shortcut_cifar10.py",
    "dw_shortcut/swin-": "dw_shortcut/swin-t_shortcut_cifar10.py",
    "dwnet/dwnet-": "dwnet/dwnet-t_in1k.py",
    **{
        f"locality_guidance/{student}": f"locality_guidance/{student}_cifar100.py"
        for student in ("deit-ti", "pit-ti", "pvt-ti", "cvt-13", "t2t-vit-7", "resnet-56")
    },
    "dvt/dvt-t2t-14_in1k": "dvt/dvt-t2t-12_in1k.py",
}
OTHER_RECIPES = ("digits", "folder", "custom-", "coco", "ade20k")


def members():
    for name in LEAVES:
        if not any(word in name for word in OTHER_RECIPES):
            yield from (
                (name, entry) for start, entry in FAMILIES.items() if name.startswith(start)
            )


@pytest.mark.parametrize(("name", "entry"), members())
def test_rows_without_an_entry_follow_those_with_one(name, entry):
    ours, official = read_config(name), read_config(entry)
    assert ours.model.get("init_cfg") == official.model.get("init_cfg")
    assert ours.model.head.get("init_cfg") == official.model.head.get("init_cfg")
    if "finetune" not in name:
        assert ours.optim_wrapper.paramwise_cfg == official.optim_wrapper.paramwise_cfg
