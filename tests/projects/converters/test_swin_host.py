"""Conversion of the Swin in the shortcut's repository to MMPretrain's SwinTransformer."""

import pytest
import torch
from mmpretrain.models import SwinTransformer

import backbone_checks as checks
from goldens import assert_outputs_close, load_golden, load_reference, reference_input
from smallvit.converters import convert, identify, revert


@pytest.fixture(scope="module")
def host():
    model = checks.Classifier(SwinTransformer("tiny", img_size=224), 768).eval()
    load_reference(model, load_golden("swin_tiny_host"), "dw_shortcut")
    return model


def test_matches_reference(host):
    record = load_golden("swin_tiny_host")
    assert sum(p.numel() for p in host.parameters()) == record["num_params"]["total"]
    with torch.no_grad():
        assert_outputs_close(host(reference_input(record["eval"])), record)


def test_goes_back_with_its_masks(host):
    official = revert("dw_shortcut", host.state_dict())
    assert {key: list(value.shape) for key, value in official.items()} == {
        key: shape for key, shape, _, _ in load_golden("swin_tiny_host")["state_dict"]
    }
    assert identify("dw_shortcut", official)[0].name == "swin"
    restored = convert("dw_shortcut", official)
    for key, value in host.state_dict().items():
        assert torch.equal(restored[key], value), key


@pytest.mark.parametrize(("stage", "shifted"), [(0, 1), (1, 1), (2, 5)])
def test_masks_are_those_that_mmpretrain_computes(host, stage, shifted):
    official = revert("dw_shortcut", host.state_dict())
    side = 56 >> stage
    attention = host.backbone.stages[stage].blocks[shifted].attn
    expected = attention.get_attn_mask((side, side), attention.window_size, attention.shift_size)
    mask = official[f"layers.{stage}.blocks.{shifted}.attn_mask"]
    assert torch.equal(mask, expected.reshape_as(mask))
