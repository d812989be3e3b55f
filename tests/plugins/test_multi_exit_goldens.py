"""DVT cascades, compared with the reference numbers."""

import pytest
import torch
from mmpretrain.models import VisionTransformer
from torch import nn

from goldens import (
    assert_features_close,
    assert_outputs_close,
    assert_train_matches,
    load_golden,
    load_reference,
    reference_input,
)
from smallvit.backbones import T2TViT
from smallvit.converters import convert, revert
from smallvit.plugins.multi_exit import DynamicViT, MultiExitHead

OFFICIAL = ("less_less_token", "less_token", "normal_token")


class Cascade(nn.Module):
    def __init__(self, exits, norm_eps):
        super().__init__()
        self.backbone = DynamicViT(exits, feature_reuse=dict(norm_eps=norm_eps))
        self.head = MultiExitHead(100, self.backbone.embed_dims)

    def forward(self, x):
        return self.head(self.backbone(x))


def t2t_exits():
    cfg = dict(norm_cfg=dict(type="LN", eps=1e-5))
    return [T2TViT("12", token_grid=grid, **cfg) for grid in (7, 10, 14)]


def deit_exits():
    patch = dict(kernel_size=23, stride=23, padding=3)
    return [
        VisionTransformer("deit-small", patch_size=32),
        VisionTransformer("deit-small", patch_cfg=patch),
        VisionTransformer("deit-small"),
    ]


CASCADES = {
    "dvt_t2t_vit_12": (t2t_exits, 1e-5, 21_666_240),
    "dvt_deit_small": (deit_exits, 1e-6, 69_402_732),
}


def watch(model, record):
    """Collect tensors by their names in the reference."""
    found = {}

    def keep(name, pick=lambda output: output):
        return lambda module, args, output: found.update({name: pick(output)})

    for official, net in zip(OFFICIAL, model.backbone.exits, strict=True):
        name = f"output of {official}.tokens_to_token"
        if name in record["features"]:
            net.patch_embed.register_forward_hook(keep(name, lambda output: output[0]))
        for index in (0, 11):
            name = f"output[0] of {official}.blocks.{index}"
            net.layers[index].register_forward_hook(keep(name))
        attention = net.layers[11].attn.scaled_dot_product_attention
        # The last exit does not need logits; storing them checks that the explicit path agrees too.
        attention.keep = True
        name = f"output[1] of {official}.blocks.11"

        def logits(module, args, output, name=name):
            found[name] = module.passed.logits

        attention.register_forward_hook(logits)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["dvt_t2t_vit_12", pytest.param("dvt_deit_small", marks=pytest.mark.exhaustive)]
)
def test_matches_the_reference(name):
    make, norm_eps, size = CASCADES[name]
    record = load_golden(name)
    model = Cascade(make(), norm_eps).eval()
    assert sum(parameter.numel() for parameter in model.parameters()) == size
    load_reference(model, record, "dvt")
    images = reference_input(record["eval"])
    with torch.no_grad():
        assert_outputs_close(model(images), record)  # the last exit with fused attention
        found = watch(model, record)
        assert_outputs_close(model(images), record)
    assert_features_close({key: found[key] for key in record["features"]}, record)
    assert_train_matches(model, record, "dvt", forward=model)


def test_a_cascade_without_reuse_converts_too():
    cfg = dict(embed_dims=16, num_heads=2, feedforward_channels=32)
    exits = [T2TViT(dict(cfg, num_layers=depth), img_size=32, token_dims=8) for depth in (1, 2, 3)]
    model = nn.Module()
    model.backbone = DynamicViT(exits, feature_reuse=False, relation_reuse=False)
    model.head = MultiExitHead(5, 16)
    state = model.state_dict()
    official = revert("dvt", state)
    assert not any("reuse" in key or "resuse" in key for key in official)
    again = convert("dvt", official)
    assert set(again) == set(state)
    assert all(torch.equal(again[key], state[key]) for key in state)
