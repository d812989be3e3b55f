"""Layers that are otherwise only covered through backbones, each compared with its formula."""

import pytest
import timm.layers
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from smallvit.layers import (
    DAFF,
    SOPE,
    Affine,
    Attention,
    HeadInteractedAttention,
    PatchEmbed,
    TokensToToken,
    TransformerBlock,
)
from smallvit.layers.arch import resolve_arch
from smallvit.layers.depthwise import DepthwiseConvBN
from smallvit.layers.dw_block import CONVS, DWBlock, DWMixer, build_dwconv
from smallvit.layers.dynamic_dwconv import DynamicDWConv2d, InhomogeneousDWConv2d
from smallvit.layers.heads import check_heads, join_heads, split_heads, split_joint
from smallvit.layers.mlp import Mlp
from smallvit.layers.patch_merging import PatchMerging
from smallvit.layers.position import fit_loaded_positions, resize_positions, sinusoid_table
from smallvit.layers.quick_gelu import QuickGELUMlp
from smallvit.layers.tokens import map_to_tokens, tokens_to_map

SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))
few = settings(max_examples=10)


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@few
@given(SIDES, st.integers(1, 4))
def test_tokens_and_maps_are_views_of_each_other(hw, channels):
    tokens = torch.randn(2, hw[0] * hw[1], channels)
    feature = tokens_to_map(tokens, hw)
    assert feature.shape == (2, channels, *hw)
    row, column = hw[0] - 1, hw[1] // 2
    assert torch.equal(feature[:, :, row, column], tokens[:, row * hw[1] + column])
    assert torch.equal(map_to_tokens(feature), tokens)
    assert map_to_tokens(feature).data_ptr() == tokens.data_ptr()


@few
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 3))
def test_heads_are_consecutive_channels(heads, count, width):
    x = torch.randn(2, count, heads * width)
    split = split_heads(x, heads)
    assert torch.equal(split[:, heads - 1], x[:, :, (heads - 1) * width :])
    assert torch.equal(join_heads(split), x)
    joint = torch.cat([x, 2 * x, 3 * x], dim=2)
    for factor, part in enumerate(split_joint(joint, 3, heads), start=1):
        assert torch.equal(part, factor * split)


def test_heads_that_do_not_divide_the_channels_are_refused():
    check_heads(12, 3)
    with pytest.raises(ValueError, match=r"embed_dims=10 .* num_heads=3"):
        check_heads(10, 3)


def test_an_architecture_is_a_name_or_all_its_settings():
    zoo = {"tiny": dict(depth=2, width=8)}
    found = resolve_arch("tiny", zoo, "Net")
    found["depth"] = 3
    assert zoo["tiny"]["depth"] == 2
    assert resolve_arch(dict(depth=1, width=4), zoo, "Net") == dict(depth=1, width=4)
    with pytest.raises(ValueError, match=r"Net: expected arch to be one of tiny, .* got 'huge'"):
        resolve_arch("huge", zoo, "Net")
    with pytest.raises(ValueError, match=r"missing \['width'\], unknown \['heads'\]"):
        resolve_arch(dict(depth=1, heads=4), zoo, "Net")


def test_affine_begins_as_the_identity_and_works_by_channel():
    layer, x = Affine(2), torch.randn(1, 2, 3, 3)
    assert torch.equal(layer(x), x)
    layer.alpha.data[:, 1], layer.beta.data[:, 1] = 2.0, 3.0
    assert torch.equal(layer(x)[:, 0], x[:, 0])
    torch.testing.assert_close(layer(x)[:, 1], 2 * x[:, 1] + 3)


@few
@given(st.tuples(st.integers(8, 40), st.integers(8, 40)), st.sampled_from((2, 4, 8)))
def test_patch_embeddings_foretell_their_grid(size, patch):
    x = torch.randn(1, 3, *size)
    for layer in (PatchEmbed(8, patch), SOPE(8, patch), PatchEmbed(8, patch, padding=1)):
        tokens, grid = layer.eval()(x)
        assert layer.grid(size) == grid
        assert tokens.shape == (1, grid[0] * grid[1], 8)


def test_a_token_sees_its_patch_alone_or_beyond_it_in_sope():
    x = torch.zeros(1, 3, 16, 16)
    inside = x.clone()
    inside[:, :, 3, 3] = 1.0  # last pixel of the first patch
    for layer, others in ((PatchEmbed(8, 4), False), (SOPE(8, 4), True)):
        moved = (layer.eval()(inside)[0] - layer(x)[0]).abs().sum(-1)[0] > 0
        assert moved[0]
        assert bool(moved[1:].any()) is others


@pytest.mark.parametrize("patch", [3, 1, 12])
def test_sope_halves_the_map_and_nothing_else(patch):
    with pytest.raises(ValueError, match="to be a power of two"):
        SOPE(24, patch)


def test_attention_is_pytorch_s():
    layer, other = Attention(8, 2), nn.MultiheadAttention(8, 2, batch_first=True)
    other.in_proj_weight, other.in_proj_bias = layer.qkv.weight, layer.qkv.bias
    other.out_proj = layer.proj
    x = torch.randn(2, 5, 8)
    torch.testing.assert_close(layer(x), other(x, x, x)[0])


def test_head_tokens_leave_their_mean_to_the_class_token():
    layer = HeadInteractedAttention(8, 2)
    x = torch.randn(2, 5, 8)
    heads = layer.head_tokens(x)
    assert heads.shape == (2, 2, 8)
    every = layer.proj(layer.mix(torch.cat((x, heads), dim=1))[0])
    out = layer(x)
    torch.testing.assert_close(out[:, 1:], every[:, 1:5])
    torch.testing.assert_close(out[:, 0], every[:, 0] + every[:, 5:].mean(dim=1))
    # Each head token summarizes the channels of its head.
    changed = x.clone()
    changed[..., :4] += 1
    moved = (layer.head_tokens(changed) - heads).abs().sum(dim=(0, 2)) > 0
    assert moved.tolist() == [True, False]


def test_the_block_is_pre_norm_with_residuals():
    attn, mlp = nn.Linear(8, 8), nn.Linear(8, 8)
    block, x = TransformerBlock(8, attn, mlp), torch.randn(2, 5, 8)
    middle = x + attn(F.layer_norm(x, (8,), eps=1e-6))
    expected = middle + mlp(F.layer_norm(middle, (8,), eps=1e-6))
    torch.testing.assert_close(block(x, (1, 5)), expected)
    scaled = TransformerBlock(8, attn, mlp, layer_scale_init_value=0.0)
    assert torch.equal(scaled(x, (1, 5)), x)


@pytest.mark.parametrize("training", [True, False])
def test_mlps_compute_their_activation(training):
    x = torch.randn(2, 5, 8)
    plain, ours = timm.layers.Mlp(8, 16), Mlp(8, 16)
    ours.load_state_dict(plain.state_dict())
    torch.testing.assert_close(ours.train(training)(x), plain.train(training)(x))
    quick = QuickGELUMlp(8, 16).train(training)
    hidden = quick.fc1(x)
    expected = quick.fc2(hidden * torch.sigmoid(1.702 * hidden))
    torch.testing.assert_close(quick(x), expected)


def test_daff_convolves_patches_and_weighs_the_class_token():
    layer, hw = DAFF(8, 16).eval(), (3, 4)
    x = torch.randn(2, 1 + 12, 8)
    out = layer(x, hw)
    feature = layer.aggregate(tokens_to_map(x[:, 1:], hw))
    torch.testing.assert_close(out[:, 1:], map_to_tokens(feature))
    weight = layer.excite(F.gelu(layer.compress(feature.mean(dim=(2, 3)))))
    torch.testing.assert_close(out[:, 0], x[:, 0] * weight)
    assert torch.equal(layer(x[:, 1:], hw), out[:, 1:])
    plain = DAFF(8, 16, with_excitation=False).eval()
    assert torch.equal(plain(x, hw)[:, 0], x[:, 0])
    with pytest.raises(ValueError, match=r"grid of 3x4 patches, got 11"):
        layer(x[:, :11], hw)
    with pytest.raises(ValueError, match=r"odd kernel_size, .* got 4"):
        DAFF(8, 16, kernel_size=4)


@pytest.mark.parametrize("training", [True, False])
def test_depthwise_convolution_keeps_channels_apart(training):
    layer = DepthwiseConvBN(4, stride=2).train(training)
    x = torch.randn(2, 4, 7, 6)
    torch.testing.assert_close(layer(x), layer.bn(layer.conv(x)))
    other = x.clone()
    other[:, 2] += torch.randn(7, 6)
    same = [torch.equal(layer(x)[:, i], layer(other)[:, i]) for i in range(4)]
    assert same == [True, True, False, True]


@pytest.mark.parametrize("conv", CONVS)
def test_dw_blocks_keep_the_map_and_shift_with_it(conv):
    block = DWBlock(4, conv, group_channels=2, kernel_size=3).eval()
    x = torch.zeros(1, 9, 9, 4)
    x[:, 3, 3] = torch.randn(4)
    out, moved = block(x), block(x.roll((1, 1), dims=(1, 2)))
    assert out.shape == x.shape
    torch.testing.assert_close(out[:, 1:6, 1:6], moved[:, 2:7, 2:7])
    assert build_dwconv(conv, 4, 2, 3, dict(type="BN")).eval()(torch.randn(1, 4, 5, 5)).shape == (
        *(1, 4, 5, 5),
    )


def test_dynamic_kernels_are_those_of_the_sample():
    layer = DynamicDWConv2d(4, kernel_size=3, reduction=2).eval()
    nn.init.normal_(layer.bias)
    x = torch.randn(2, 4, 5, 6)
    kernels = layer.kernels(x)
    for sample, kernel, out in zip(x, kernels, layer(x), strict=True):
        alone = F.conv2d(sample[None], kernel[:, None], layer.bias, padding=1, groups=4)
        torch.testing.assert_close(out[None], alone)
    # The kernels depend on the mean of the map, not on the positions of its values.
    torch.testing.assert_close(layer.kernels(x.flip(2, 3)), kernels)


def test_inhomogeneous_kernels_are_those_of_the_position():
    layer = InhomogeneousDWConv2d(4, group_channels=2, kernel_size=3, reduction=2).eval()
    x = torch.randn(2, 4, 5, 6)
    kernels = layer.kernels(x).repeat_interleave(2, dim=1)  # one kernel for two channels
    patches = F.unfold(x, 3, padding=1).view(2, 4, 9, 5, 6)
    torch.testing.assert_close(layer(x), (kernels * patches).sum(2))
    with pytest.raises(ValueError, match=r"4 channels, got 3"):
        InhomogeneousDWConv2d(4, group_channels=3)


@few
@given(SIDES)
def test_padding_to_the_kernel_is_cropped_again(hw):
    mixer = DWMixer(4, "static", 1, 3, True, dict(type="BN")).eval()
    x = torch.randn(1, *hw, 4)
    padded = F.pad(x, (0, 0, 0, -hw[1] % 3, 0, -hw[0] % 3))
    assert mixer(x).shape == x.shape
    torch.testing.assert_close(mixer(x), mixer(padded)[:, : hw[0], : hw[1]])


@few
@given(SIDES)
def test_patch_merging_joins_two_by_two(hw):
    layer, x = PatchMerging(2), torch.randn(1, *hw, 2)
    out = layer(x)
    assert out.shape == (1, -(-hw[0] // 2), -(-hw[1] // 2), 4)
    padded = F.pad(x, (0, 0, 0, hw[1] % 2, 0, hw[0] % 2))
    first = torch.cat([padded[:, i, j] for i, j in ((0, 0), (1, 0), (0, 1), (1, 1))], dim=-1)
    torch.testing.assert_close(out[:, 0, 0], layer.reduction(layer.norm(first)))


def test_sinusoids_are_those_of_the_paper():
    table = sinusoid_table(5, 4)
    assert table.shape == (1, 5, 4)
    angle = torch.tensor([3.0, 3.0, 3.0 / 100, 3.0 / 100])
    expected = torch.stack((angle[0].sin(), angle[1].cos(), angle[2].sin(), angle[3].cos()))
    torch.testing.assert_close(table[0, 3], expected)


@few
@given(SIDES, SIDES, st.integers(0, 2))
def test_positions_are_resized_and_extra_ones_stay(old, new, extra):
    table = torch.randn(1, extra + old[0] * old[1], 3)
    found = resize_positions(table, old, new, extra)
    assert found.shape == (1, extra + new[0] * new[1], 3)
    assert torch.equal(found[:, :extra], table[:, :extra])
    assert resize_positions(table, old, old, extra) is table
    flat = resize_positions(torch.ones_like(table), old, new, extra)
    torch.testing.assert_close(flat, torch.ones_like(flat))


def test_loaded_positions_follow_the_model_where_they_can():
    own = torch.zeros(1, 1 + 6, 3)
    state = {"pos_embed": torch.randn(1, 1 + 16, 3), "odd": torch.randn(1, 1 + 15, 3)}
    odd = state["odd"]
    for key in (*state, "missing"):
        fit_loaded_positions(state, key, own, (2, 3), num_extra=1)
    assert state["pos_embed"].shape == own.shape
    assert state["odd"] is odd
    assert "missing" not in state


@few
@given(st.tuples(st.integers(32, 48), st.integers(32, 48)))
def test_tokens_to_token_foretells_its_grid(size):
    layer = TokensToToken(8, token_dims=4).eval()
    tokens, grid = layer(torch.randn(1, 3, *size))
    assert layer.grid(size) == grid
    assert tokens.shape == (1, grid[0] * grid[1], 8)
