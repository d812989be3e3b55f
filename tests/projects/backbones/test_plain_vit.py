"""Base class of plain transformers: tokens, position embeddings, freezing, layer depths."""

import pytest
import torch
from torch import nn

import backbone_checks as checks
from smallvit.backbones import PlainViT
from smallvit.layers import Attention, PatchEmbed, TransformerBlock


def build(pos_embed="learnable", grid=(6, 5), depth=3, **kwargs):
    torch.manual_seed(0)
    patch_embed = PatchEmbed(8, 4)
    layers = [
        TransformerBlock(8, Attention(8, 2), nn.Sequential(nn.Linear(8, 8), nn.GELU()))
        for _ in range(depth)
    ]
    model = PlainViT(patch_embed, layers, 8, pos_embed=pos_embed, patch_resolution=grid, **kwargs)
    model.init_weights()
    return model


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, 24, 20)


def test_initializes_tokens_and_positions():
    model = build(with_dist_token=True)
    for value in (model.cls_token, model.dist_token, model.pos_embed):
        assert 0 < value.abs().max() < 0.2
    assert model.layers[0].attn.qkv.bias.abs().max() == 0


def test_distillation_token_goes_second(images):
    model = build(with_dist_token=True).eval()
    cls_token, dist_token = model(images)[0]
    model.out_type = "raw"
    (raw,) = model(images)
    assert raw.shape == (2, 2 + 30, 8)
    torch.testing.assert_close(torch.stack((cls_token, dist_token), dim=1), raw[:, :2])


def test_no_class_token(images):
    model = build(with_cls_token=False, out_type="raw")
    assert model(images)[0].shape == (2, 30, 8)
    assert "cls_token" not in dict(model.named_parameters())


def test_only_the_last_output_is_normed(images):
    first, last = build(out_type="featmap", out_indices=(0, 2)).eval()(images)
    assert last.mean(dim=1).abs().max() < 1e-5 < first.mean(dim=1).abs().max()
    (bare,) = build(out_type="featmap", final_norm=False).eval()(images)
    assert bare.mean(dim=1).abs().max() > 1e-5


@pytest.mark.parametrize("kind", ["learnable", "sinusoid"])
def test_positions_follow_the_size_of_the_image(kind, images):
    model = build(kind).eval()
    assert model.state_dict()["pos_embed"].shape == (1, 31, 8)
    tokens, hw = model.embed(torch.zeros(1, 3, 32, 12))
    assert hw == (8, 3)
    positions = tokens[:, 1:] - model.patch_embed(torch.zeros(1, 3, 32, 12))[0]
    expected = nn.functional.interpolate(
        model.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (6, 5)), (8, 3), mode="bicubic"
    )
    torch.testing.assert_close(positions.transpose(1, 2).unflatten(2, (8, 3)), expected)
    torch.testing.assert_close(tokens[:, :1], model.cls_token + model.pos_embed[:, :1])


def test_loads_positions_of_another_size():
    source, target = build(grid=(4, 4)), build(grid=(6, 5))
    target.load_state_dict(source.state_dict())
    x = torch.randn(1, 3, 24, 20)
    with torch.no_grad():
        torch.testing.assert_close(target.eval()(x), source.eval()(x))
    oblong = build(grid=(5, 4))
    with pytest.raises(RuntimeError, match="pos_embed"):
        target.load_state_dict(oblong.state_dict())


def test_frozen_stages():
    model = build(frozen_stages=2)
    model.train()
    trained = {name for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {
        name for name, _ in model.named_parameters() if name.startswith(("layers.2.", "norm."))
    }
    assert not model.layers[1].training
    assert model.layers[2].training
    whole = build(frozen_stages=3)
    assert not [p for p in whole.train().parameters() if p.requires_grad]


def test_layer_depths():
    model = build()
    depths = {
        name: model.get_layer_depth(f"backbone.{name}", "backbone.")
        for name in dict(model.named_parameters())
    }
    assert {depth for _, depth in depths.values()} == {5}
    assert depths["cls_token"][0] == depths["patch_embed.projection.weight"][0] == 0
    assert [depths[f"layers.{i}.norm1.weight"][0] for i in range(3)] == [1, 2, 3]
    assert depths["norm.weight"][0] == 4
    assert model.get_layer_depth("head.fc.weight", "backbone.") == (4, 5)


def test_gradient_checkpointing(images):
    checks.assert_checkpointing(build, images)


def test_unknown_positions_are_refused():
    with pytest.raises(ValueError, match=r"learnable.*'rotary'"):
        build("rotary")
