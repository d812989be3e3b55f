"""Key maps for tiny-transformers' checkpoints: ResNet-18, identification and rejected keys."""

import pytest
import torch

import backbone_checks as checks
from goldens import load_golden
from smallvit.converters import ConversionError, convert, identify

GOLDENS = {
    "pvt_ti": "pvt-ti_c100_base",
    "pvtv2_b0": "pvtv2-b0_c100_base",
    "cvt_13": "cvt-13_c100_base",
    "pit_ti": "pit-ti_c100_base",
    "convit_ti": "convit-ti_c100_base",
    "resnet56": "r-56_c100",
    "resnet18": "r-18_c100",
}


def empty_state(name):
    entries = load_golden(name)["state_dict"]
    return {key: torch.empty(shape, device="meta") for key, shape, _, _ in entries}


def test_resnet18_of_mmpretrain_matches_reference():
    from mmpretrain.models import ResNet

    model = checks.Classifier(ResNet(18), 512)
    stages = [getattr(model.backbone, name) for name in model.backbone.res_layers]
    checks.assert_golden("resnet18", model, [(stage, None) for stage in stages])


@pytest.mark.parametrize(("golden", "official"), GOLDENS.items())
def test_names_the_model_of_a_checkpoint(golden, official):
    _, names = identify("locality_guidance", {"model_state": empty_state(golden)})
    assert official in names
    student = official.removesuffix("_base")
    assert all(name.startswith(student) for name in names)  # plain, guided online, guided offline


@pytest.mark.parametrize("golden", GOLDENS)
def test_rejects_missing_and_unknown_keys(golden):
    state = empty_state(golden)
    lost = next(iter(state))
    with pytest.raises(ConversionError, match="missing") as error:
        convert("locality_guidance", {key: state[key] for key in state if key != lost})
    assert lost in error.value.missing_keys
    with pytest.raises(ConversionError) as error:
        convert("locality_guidance", state | {"surplus.weight": torch.empty(1)})
    assert error.value.unknown_keys == ["surplus.weight"]


def test_number_of_classes_is_the_checkpoints():
    state = empty_state("pvt_ti")
    state["head.weight"], state["head.bias"] = torch.ones(7, 512), torch.ones(7)
    assert convert("locality_guidance", state)["head.fc.weight"].shape == (7, 512)
