"""CaiT, compared with an independent implementation of its equations under the official keys."""

import re

import pytest
import torch
import torch.nn.functional as F

import backbone_checks as checks
from goldens import fill
from smallvit.backbones import CaiT
from smallvit.backbones.cait import layer_scale_by_depth
from smallvit.converters import convert, revert
from smallvit.layers import TalkingHeadsAttention
from smallvit.registry import MODELS

ARCH = dict(embed_dims=16, num_layers=3, num_cls_layers=2, num_heads=2, feedforward_channels=32)


def small(**kwargs):
    torch.manual_seed(0)
    model = MODELS.build(dict(type="smallvit.CaiT", arch=ARCH, img_size=(48, 32), **kwargs))
    model.init_weights()
    return model


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, 48, 32)


def official_state(model):
    """Random weights under the official keys, drawn by the rules of the goldens."""
    filled = {}
    for key, value in revert("dw_shortcut", model.state_dict()).items():
        kind = fill.infer_kind(key, value.shape)
        filled[key] = torch.from_numpy(fill.fill_tensor(key, value.shape, kind, 0)).double()
    return filled


def official_logits(state, images, num_heads):
    """CaiT step by step: explicit patches, loops over heads, no fused operators."""

    def linear(x, key):
        return F.linear(x, state[f"{key}.weight"], state.get(f"{key}.bias"))

    def norm(x, key):
        return F.layer_norm(x, x.shape[-1:], state[f"{key}.weight"], state[f"{key}.bias"])

    def attend(x, context, key):
        query = linear(x, f"{key}.to_q")
        keys, values = linear(context, f"{key}.to_kv").chunk(2, dim=-1)
        heads = [tensor.chunk(num_heads, dim=-1) for tensor in (query, keys, values)]
        scale = (query.shape[-1] // num_heads) ** -0.5
        logits = [q @ k.mT * scale for q, k in zip(*heads[:2], strict=True)]
        weights = [w.softmax(-1) for w in talk(logits, state[f"{key}.mix_heads_pre_attn"])]
        weights = talk(weights, state[f"{key}.mix_heads_post_attn"])
        mixed = [w @ v for w, v in zip(weights, heads[2], strict=True)]
        return linear(torch.cat(mixed, dim=-1), f"{key}.to_out.0")

    def talk(heads, mixture):
        return [sum(mixture[i, j] * head for i, head in enumerate(heads)) for j in range(num_heads)]

    def trunk(x, key, context=None):
        depth = 1 + max(
            int(found.group(1))
            for name in state
            if (found := re.match(rf"{key}\.layers\.(\d+)", name))
        )
        for i in range(depth):
            layer = f"{key}.layers.{i}"
            asked = norm(x, f"{layer}.0.fn.norm")
            seen = asked if context is None else torch.cat((asked, context), dim=1)
            x = x + state[f"{layer}.0.scale"] * attend(asked, seen, f"{layer}.0.fn.fn")
            hidden = F.gelu(linear(norm(x, f"{layer}.1.fn.norm"), f"{layer}.1.fn.fn.net.0"))
            x = x + state[f"{layer}.1.scale"] * linear(hidden, f"{layer}.1.fn.fn.net.3")
        return x

    rows = images.unfold(2, 16, 16).unfold(3, 16, 16)
    patches = rows.permute(0, 2, 3, 4, 5, 1).flatten(3).flatten(1, 2)
    x = linear(patches, "to_patch_embedding.1") + state["pos_embedding"]
    x = trunk(x, "patch_transformer")
    cls_token = state["cls_token"].expand(len(images), -1, -1)
    cls_token = trunk(cls_token, "cls_transformer", context=x)
    return linear(norm(cls_token[:, 0], "mlp_head.0"), "mlp_head.1")


def test_matches_its_equations(images):
    model = checks.Classifier(small(), 16).double().eval()
    state = official_state(model)
    model.load_state_dict(convert("dw_shortcut", state))
    expected = official_logits(state, images.double(), ARCH["num_heads"])
    with torch.no_grad():
        torch.testing.assert_close(model(images.double()), expected, rtol=1e-9, atol=1e-9)


def test_keys_round_trip():
    model = checks.Classifier(small(), 16)
    official = revert("dw_shortcut", model.state_dict())
    assert official["to_patch_embedding.1.weight"].shape == (16, 16 * 16 * 3)
    assert official["patch_transformer.layers.2.0.scale"].shape == (1, 1, 16)
    restored = convert("dw_shortcut", official)
    for key, value in model.state_dict().items():
        assert torch.equal(restored[key], value), key


@pytest.mark.parametrize(
    ("arch", "depth", "with_shortcuts"), [("xxs12", 12, 6_458_660), ("xxs24", 24, 11_822_756)]
)
def test_published_sizes(arch, depth, with_shortcuts):
    """The published models have a 3x3 depth-wise convolution and a norm next to each block."""
    with torch.device("meta"):
        model = checks.Classifier(CaiT(arch), 192)
    shortcut = 192 * 9 + 192 + 2 * 192
    assert sum(p.numel() for p in model.parameters()) == with_shortcuts - depth * shortcut


def test_layer_scale_shrinks_with_depth():
    scales = [layer_scale_by_depth(depth) for depth in (1, 18, 19, 24, 25)]
    assert scales == [0.1, 0.1, 1e-5, 1e-5, 1e-6]
    deep = CaiT(dict(ARCH, num_layers=20))
    assert deep.layers[17].ls1.gamma[0].item() == pytest.approx(0.1)
    assert deep.layers[18].ls2.gamma[0].item() == pytest.approx(1e-5)
    assert deep.cls_layers[1].ls1.gamma[0].item() == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("out_type", "shapes"),
    [
        ("avg_featmap", [(2, 16), (2, 16)]),
        ("raw", [(2, 8, 16), (2, 9, 16)]),
        ("featmap", [(2, 16, 2, 4), (2, 16, 2, 4)]),
    ],
)
def test_output_types_on_an_oblong_image(out_type, shapes):
    outputs = small(out_type=out_type, out_indices=(0, -1))(torch.randn(2, 3, 32, 64))
    assert [tuple(output.shape) for output in outputs] == shapes


def test_only_the_class_token_changes_in_the_class_trunk(images):
    model = small(out_type="raw", final_norm=False).eval()
    with torch.no_grad():
        (tokens,) = model(images)
        model.cls_layers = torch.nn.ModuleList()
        (before,) = model(images)
    torch.testing.assert_close(tokens[:, 1:], before[:, 1:])
    assert (tokens[:, 0] != before[:, 0]).any()


@pytest.mark.parametrize("talk", [True, False])
def test_talking_heads_without_mixing_are_plain_attention(talk):
    torch.manual_seed(0)
    attention = TalkingHeadsAttention(16, 4, talk=talk)
    if talk:
        with torch.no_grad():
            attention.mix_before.copy_(torch.eye(4))
            attention.mix_after.copy_(torch.eye(4))
    x = torch.randn(2, 5, 16)
    query, key, value = (
        part.unflatten(2, (4, -1)).transpose(1, 2)
        for part in (attention.q(x), *attention.kv(x).chunk(2, dim=-1))
    )
    plain = F.scaled_dot_product_attention(query, key, value).transpose(1, 2).flatten(2)
    torch.testing.assert_close(attention(x), attention.proj(plain))


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        (dict(out_indices=(3, 11)), ["no class token", "featmap"]),
        (dict(arch="s24"), ["CaiT", "s24", "xxs12"]),
        (dict(arch=dict(ARCH, num_heads=3)), ["embed_dims=16", "num_heads=3"]),
    ],
)
def test_wrong_arguments_are_named(kwargs, words):
    with pytest.raises(ValueError, match=r"class token|arch|heads") as error:
        CaiT(**dict(dict(arch="xxs12"), **kwargs))
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(
    ("switch", "parts"),
    [
        ("with_layer_scale", {"ls1.gamma", "ls2.gamma"}),
        ("with_talking_heads", {"attn.mix_before", "attn.mix_after"}),
        ("with_pos_embed", {"pos_embed"}),
    ],
)
def test_switches_only_remove_their_own_parameters(switch, parts, images):
    full, without = small(), small(**{switch: False})
    gone = set(full.state_dict()) - set(without.state_dict())
    assert {re.sub(r"^(cls_)?layers\.\d+\.", "", name) for name in gone} == parts
    assert set(without.state_dict()) < set(full.state_dict())
    assert without(images)[0].shape == (2, 16)


def test_frozen_stages():
    model = small(frozen_stages=3)
    model.train()
    trained = {name.split(".")[0] for name, p in model.named_parameters() if p.requires_grad}
    assert trained == {"cls_layers", "cls_token", "norm"}


def test_batch_of_one(images):
    checks.assert_batch_of_one(small(), images)


def test_autocast(images):
    checks.assert_autocast(small(out_type="raw"), images)


def test_gradient_checkpointing(images):
    checks.assert_checkpointing(small, images)


def test_onnx(images):
    checks.assert_exports(small(), images)


@pytest.mark.exhaustive
def test_torch_compile(images):
    checks.assert_compiles(small(), images)
