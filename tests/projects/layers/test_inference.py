"""Inference-mode optimizations of layers: in-place operations and chunked batches."""

import pytest
import timm.layers
import torch
import torch.nn.functional as F
from timm.models.pvt_v2 import MlpWithDepthwiseConv
from torch import nn

from smallvit.layers import DAFF, TalkingHeadsAttention, talking_heads
from smallvit.layers.conv_norm import normalize, pointwise_norm
from smallvit.layers.depthwise_mlp import DepthwiseMlp
from smallvit.layers.inference import activate, gelu, needs_intermediates
from smallvit.layers.mlp import Mlp
from smallvit.plugins.dw_shortcut import DepthwiseShortcut


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def test_gelu_overwrites_unreferenced_tensors():
    x = torch.randn(3)
    expected = F.gelu(x)
    assert gelu(x) is not x
    with torch.no_grad():
        assert gelu(x) is x
    assert torch.equal(x, expected)


def test_gelu_keeps_tensors_that_a_hook_may_reference():
    layer = nn.Linear(2, 2)
    held = []
    handle = layer.register_forward_hook(lambda module, args, output: held.append(output))
    with torch.no_grad():
        out = layer(torch.randn(1, 2))
        assert needs_intermediates(layer)
        before = out.clone()
        gelu(out, layer)
        assert torch.equal(held[0], before)
        handle.remove()
        assert not needs_intermediates(layer)


def test_captured_graphs_are_the_same_with_and_without_gradients():
    seen = []

    def trace(x):
        seen.append(needs_intermediates())
        return x + 1

    with torch.no_grad():
        torch.jit.trace(trace, torch.ones(1), check_trace=False)
    assert seen == [True]


@pytest.mark.parametrize("make", [DAFF, lambda *sizes: DAFF(*sizes, with_shortcut=False)])
def test_daff_in_inference(make):
    layer = make(8, 16).eval()
    x = torch.randn(2, 1 + 12, 8)
    expected, before = layer(x, (3, 4)), x.clone()
    with torch.no_grad():
        torch.testing.assert_close(layer(x, (3, 4)), expected)
    assert torch.equal(x, before)


@pytest.mark.parametrize("talk", [True, False])
def test_talking_heads_go_through_a_batch_in_parts(talk, monkeypatch):
    layer = TalkingHeadsAttention(8, 2, talk=talk).eval()
    x, context = torch.randn(3, 5, 8), torch.randn(3, 4, 8)
    expected = layer(x), layer(x, context)
    sizes = []
    attend = layer._attend
    monkeypatch.setattr(
        layer, "_attend", lambda query, *rest: sizes.append(len(query)) or attend(query, *rest)
    )
    monkeypatch.setattr(talking_heads, "MIN_LOGITS_TO_SPLIT", 1)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    with torch.no_grad():
        torch.testing.assert_close((layer(x), layer(x, context)), expected)
    assert sizes == [2, 1, 2, 1]
    layer.logits = nn.Softsign()  # a replaced operator is called once with the whole batch
    with torch.no_grad():
        layer(x)
    assert sizes[4:] == [3]


@pytest.mark.parametrize("options", [{}, {"extra_relu": True}, {"act_layer": nn.SiLU}])
def test_depthwise_mlp_is_timms(options):
    original = MlpWithDepthwiseConv(8, 16, **options).eval()
    ours = DepthwiseMlp(original)
    assert list(ours.state_dict()) == list(original.state_dict())
    for batch in (1, 2):
        x = torch.randn(batch, 12, 8)
        torch.testing.assert_close(ours(x, [3, 4]), original(x, [3, 4]))
        with torch.no_grad():
            torch.testing.assert_close(ours(x, [3, 4]), original(x, [3, 4]))


@pytest.mark.parametrize("act_layer", [nn.GELU, nn.Tanh, lambda: nn.GELU("tanh")])
def test_mlp_is_timms(act_layer):
    original, ours = (kind(4, 8, act_layer=act_layer).eval() for kind in (timm.layers.Mlp, Mlp))
    ours.load_state_dict(original.state_dict())
    x = torch.randn(2, 3, 4)
    assert torch.equal(ours(x), original(x))
    with torch.no_grad():
        assert torch.equal(ours(x), original(x))


class Pointwise(nn.Module):
    """A 1x1 convolution with a norm."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(64, 64, 1), nn.BatchNorm2d(64)

    def forward(self, x):
        return pointwise_norm(x.unflatten(1, (4, 4)).permute(0, 3, 1, 2), self.conv, self.norm)


@pytest.mark.parametrize(
    "layer", [Pointwise(), TalkingHeadsAttention(64, 4)], ids=["norm", "heads"]
)
def test_graphs_of_any_batch_hold_for_large_ones(layer, monkeypatch):
    """A branch on the batch size would restrict the graph to one range of sizes."""
    if not hasattr(torch.export.Dim, "DYNAMIC"):
        pytest.skip("torch 2.4 and 2.5 do not support this form of dynamic shapes")
    monkeypatch.setattr(talking_heads, "MIN_LOGITS_TO_SPLIT", 10_000)
    layer = layer.eval()
    free = ({0: torch.export.Dim.DYNAMIC},)
    example = (torch.rand(2, 16, 64),)
    # As in smallvit export; before torch 2.8, the batch size would otherwise become a constant.
    graph = torch.export.export(layer, example, dynamic_shapes=free, strict=False).module()
    for count in (1, 40):
        x = torch.rand(count, 16, 64)
        assert torch.allclose(graph(x), layer(x), atol=1e-5)


def batch_norm(**kwargs):
    norm = nn.BatchNorm2d(6, **kwargs).eval()
    for value in norm.state_dict().values():
        if value.is_floating_point():
            value.uniform_(0.5, 2)
    return norm


def channels_last(*size):
    return torch.randn(size).contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("affine", [True, False])
def test_a_batch_norm_of_a_map_is_one_multiplication(affine):
    norm, x = batch_norm(affine=affine), channels_last(2, 6, 5, 4)
    with torch.no_grad():
        expected = norm(x)
        kept = normalize(x, norm)
        assert kept is not x
        assert kept.is_contiguous(memory_format=torch.channels_last)
        torch.testing.assert_close(kept, expected)
        assert normalize(x, norm, is_free=True) is x
        torch.testing.assert_close(x, expected)


@pytest.mark.parametrize("case", ["gradients", "training", "order", "hook", "pre-hook", "type"])
def test_a_norm_that_is_called_separately(case, monkeypatch):
    norm, x = batch_norm(), channels_last(2, 6, 5, 4)
    x = x.contiguous() if case == "order" else x.bfloat16() if case == "type" else x
    norm.train(case == "training")
    called = []
    forward = norm.forward
    norm.forward = lambda x: called.append(1) or forward(x)
    if case == "hook":
        norm.register_forward_hook(lambda *args: None)
    if case == "pre-hook":
        norm.register_forward_pre_hook(lambda *args: None)
    before = x.clone()
    with torch.set_grad_enabled(case == "gradients"):
        normalize(x, norm, is_free=True)
    assert called
    assert torch.equal(x, before)


@pytest.mark.parametrize("act_cfg", [dict(type="GELU"), None])
@pytest.mark.parametrize("sizes", [(3,), (3, 5)])
def test_a_shortcut_in_inference_leaves_its_input(act_cfg, sizes):
    layer = DepthwiseShortcut(6, sizes, act_cfg=act_cfg).eval()
    for branch in layer.branches:
        branch.norm.load_state_dict(batch_norm().state_dict())
    x = channels_last(2, 6, 5, 4)
    before = x.clone()
    expected = layer(x)
    with torch.no_grad():
        found = layer(x)
    torch.testing.assert_close(found, expected)
    assert torch.equal(x, before)


@pytest.mark.parametrize("gradients", [True, False])
def test_gelu_processes_a_map_in_memory_order(gradients, monkeypatch):
    x = channels_last(2, 6, 5, 4).requires_grad_(gradients)
    expected, seen = F.gelu(x), []
    function = F.gelu if gradients else torch.ops.aten.gelu_
    owner, name = (F, "gelu") if gradients else (torch.ops.aten, "gelu_")

    def watch(x, **kwargs):
        seen.append(x.is_contiguous())
        return function(x, **kwargs)

    monkeypatch.setattr(owner, name, watch)
    with torch.set_grad_enabled(gradients):
        out = gelu(x)
    torch.testing.assert_close(out, expected)
    assert out.stride() == expected.stride()
    assert seen == [True]


def test_an_activation_with_a_hook_sees_the_map_itself():
    act, x, shapes = nn.GELU(), channels_last(2, 6, 5, 4), []
    act.register_forward_hook(lambda module, args, output: shapes.append(output.shape))
    with torch.no_grad():
        out = activate(act, x)
    assert shapes == [x.shape]
    assert torch.equal(out, F.gelu(x))
