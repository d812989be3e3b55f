"""Conversion of official DeiT and shortcut ViT checkpoints to MMPretrain's VisionTransformer."""

import re
from itertools import product
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models import DeiTClsHead, DistilledVisionTransformer, VisionTransformer
from torch import nn

import backbone_checks as checks
from goldens import assert_tensor_close, load_golden, reference_input, reference_state
from smallvit.backbones import CaiT
from smallvit.converters import ConversionError, convert, identify, official_models, revert
from smallvit.plugins.dw_shortcut import attach_dw_shortcuts

SHORTCUT_ARCH = dict(embed_dims=192, num_layers=12, num_heads=3, feedforward_channels=768)


def test_deit_matches_tiny_transformers():
    model = checks.Classifier(VisionTransformer("deit-tiny"), 192)
    blocks = [(layer, 14) for layer in model.backbone.layers]
    checks.assert_golden("deit_ti", model, blocks)


@pytest.mark.parametrize(
    ("golden", "official"),
    [("deit_ti", "deit-ti_c100_base"), ("t2t_vit_7", "t2t-7_c100_base")],
)
def test_names_the_model_of_a_checkpoint(golden, official):
    entries = load_golden(golden)["state_dict"]
    state = {key: torch.empty(shape, device="meta") for key, shape, _, _ in entries}
    names = identify("locality_guidance", {"model_state": state})[1]
    assert official in names
    student = official.removesuffix("_base")
    assert all(name.startswith(student) for name in names)  # plain, guided online, guided offline


def test_distilled_deit_averages_its_two_heads():
    arch = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
    model = nn.Module()
    model.backbone = DistilledVisionTransformer(arch, img_size=32)
    model.head = DeiTClsHead(num_classes=5, in_channels=16)
    state = {key: torch.randn(value.shape) for key, value in model.state_dict().items()}
    official = revert("locality_guidance", state)
    assert {"distill_token", "distill_head.weight", "head.weight"} <= set(official)
    assert identify("locality_guidance", official)[0].name == "deit-distilled"
    model.load_state_dict(convert("locality_guidance", official))
    model.eval()
    features = model.backbone(torch.randn(2, 3, 32, 32))
    both = [
        F.linear(token, official[f"{head}.weight"], official[f"{head}.bias"])
        for token, head in zip(features[-1], ("head", "distill_head"), strict=True)
    ]
    torch.testing.assert_close(model.head(features), sum(both) / 2)


def test_deit_matches_the_first_exit_of_dvt():
    record, prefix = load_golden("dvt_deit_small"), "less_less_token."
    state = {
        key.removeprefix(prefix): value
        for key, value in reference_state(record).items()
        if key.startswith(prefix)
    }
    model = checks.Classifier(VisionTransformer("deit-small", patch_size=32), 384).eval()
    model.load_state_dict(convert("dvt", state))
    with torch.no_grad():
        logits = model(reference_input(record["eval"]))
    assert_tensor_close(logits, record["eval"]["outputs"][0])


def shortcut_vit():
    backbone = VisionTransformer(SHORTCUT_ARCH, qkv_bias=False, norm_cfg=dict(type="LN", eps=1e-5))
    return checks.Classifier(backbone, 192)


def host_state():
    """State of the stored ViT-Tiny without its shortcuts."""
    state = reference_state(load_golden("vit_tiny"))
    return {k: v for k, v in state.items() if not re.search(r"convs|batchnorms", k)}


def host_logits(state, images):
    """The ViT step by step, without shortcuts: explicit patches, no fused operators."""

    def linear(x, key):
        return F.linear(x, state[f"{key}.weight"], state.get(f"{key}.bias"))

    def norm(x, key):
        return F.layer_norm(x, x.shape[-1:], state[f"{key}.weight"], state[f"{key}.bias"])

    patches = images.unfold(2, 16, 16).unfold(3, 16, 16).permute(0, 2, 3, 4, 5, 1)
    x = linear(patches.flatten(3).flatten(1, 2), "to_patch_embedding.1")
    x = torch.cat((state["cls_token"].expand(len(x), -1, -1), x), dim=1) + state["pos_embedding"]
    for i in range(12):
        layer = f"transformer.layers.{i}"
        parts = linear(norm(x, f"{layer}.0.norm"), f"{layer}.0.fn.to_qkv").chunk(3, dim=-1)
        query, key, value = (part.unflatten(2, (3, 64)).transpose(1, 2) for part in parts)
        mixed = (query @ key.mT / 8).softmax(-1) @ value
        x = x + linear(mixed.transpose(1, 2).flatten(2), f"{layer}.0.fn.to_out.0")
        hidden = F.gelu(linear(norm(x, f"{layer}.1.norm"), f"{layer}.1.fn.net.0"))
        x = x + linear(hidden, f"{layer}.1.fn.net.3")
    return linear(norm(x[:, 0], "mlp_head.0"), "mlp_head.1")


def test_host_of_the_shortcut_matches_its_equations():
    model, state = shortcut_vit().eval(), host_state()
    model.load_state_dict(convert("dw_shortcut", state))
    images = reference_input(load_golden("vit_tiny")["eval"])
    with torch.no_grad():
        expected = host_logits(state, images)
        actual = model(images)
    limit = 1e-5 * expected.abs().max().item()
    torch.testing.assert_close(actual, expected, rtol=0, atol=limit)


def test_host_of_the_shortcut_round_trips():
    state = host_state()
    restored = revert("dw_shortcut", convert("dw_shortcut", state))
    assert set(restored) == set(state)
    for key, value in state.items():
        assert torch.equal(restored[key], value), key


@pytest.mark.parametrize("system", ["dvt", "dw_shortcut"])
def test_rejects_unknown_checkpoints(system):
    with pytest.raises(ConversionError, match="unknown"):
        convert(system, {"surplus.weight": torch.ones(1)})


@pytest.mark.parametrize("shortcuts", [False, True])
@pytest.mark.parametrize("parts", product((True, False), repeat=3))
def test_cait_converts_without_any_of_its_parts(parts, shortcuts):
    scale, talking, position = parts
    backbone = CaiT(
        dict(embed_dims=16, num_layers=3, num_cls_layers=2, num_heads=2, feedforward_channels=32),
        img_size=32,
        with_layer_scale=scale,
        with_talking_heads=talking,
        with_pos_embed=position,
    )
    if shortcuts:
        attach_dw_shortcuts(backbone)
    model = checks.Classifier(backbone, 16)
    state = {key: torch.randn(value.shape) for key, value in model.state_dict().items()}
    official = revert("dw_shortcut", state)
    # Commented-out parts of the official code; without them, blocks are no longer wrapped.
    block = "patch_transformer.layers.2.0"
    wrapped = "fn." if scale else ""
    assert (f"{block}.scale" in official) == scale
    assert f"{block}.{wrapped}fn.to_q.weight" in official
    assert (f"{block}.{wrapped}fn.mix_heads_pre_attn" in official) == talking
    assert ("pos_embedding" in official) == position
    assert len(official) == len(state)
    key_map, _ = identify("dw_shortcut", official)
    assert key_map.name.endswith("-shortcut") == shortcuts
    returned = convert("dw_shortcut", official)
    assert all(torch.equal(returned[key], state[key]) for key in state)
    model.load_state_dict(returned)


def test_official_names_of_the_plain_students():
    records = official_models()
    for name in ("deit-ti_c100_ours_offline", "t2t-14_c100_ours", "dhvt_small_cifar_patch2"):
        assert Path(records[name].config).is_file(), name
