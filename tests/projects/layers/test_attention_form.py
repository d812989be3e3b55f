"""Fused and explicit attention: equality, selection, and the modules to which it applies."""

import copy
import pickle

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.models.utils import MultiheadAttention
from timm.layers import Attention as TimmAttention
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from smallvit.engine import pipeline
from smallvit.engine.models import build_model
from smallvit.layers import attention_form
from smallvit.layers.attention_form import (
    attend,
    attention_weights,
    explicit_attention,
    is_explicit_faster,
    select_timm_attention,
    use_faster_attention,
)
from smallvit.plugins.multi_exit.reuse_modules import RelatedAttention
from smallvit.registry import MODELS


class IndexedGradients(TorchDispatchMode):
    """Count gradients of indexed tensors, each of which has the full size of the tensor."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        self.count += func is torch.ops.aten.select_backward.default
        return func(*args, **(kwargs or {}))


PLAIN = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
CVT = dict(kernel_sizes=(7, 3), strides=(4, 2), paddings=(2, 1))
STAGES = dict(embed_dims=(8, 16), depths=(1, 1), num_heads=(1, 2), mlp_ratios=(2, 2))
PVT = STAGES | dict(sr_ratios=(2, 1))
VIT = dict(arch=PLAIN, img_size=32, patch_size=4)
CONVIT = dict(img_size=32, patch_size=8, embed_dim=4, num_heads=4, depth=2, local_up_to_layer=1)
PIT = dict(img_size=(64, 48), base_dims=(8, 8, 8), depth=(1, 1, 1), heads=(1, 1, 2))
T2T = dict(type="smallvit.T2TViT", arch=PLAIN, token_dims=8, token_encoder="transformer")
CASCADE = [T2T | dict(token_grid=grid) for grid in (7, 10)]
NETWORKS = {
    "dhvt": dict(type="smallvit.DHVT", arch=PLAIN, patch_size=4, img_size=32),
    "cvt": dict(type="smallvit.CvT", arch=STAGES | CVT),
    "pvt": dict(type="smallvit.PVT", arch=PVT | dict(patch_sizes=(4, 2)), img_size=32),
    "t2t": T2T | dict(img_size=32),
    "cascade": dict(type="smallvit.DynamicViT", exits=CASCADE),
    "convit": dict(type="smallvit.TimmBackbone", model_name="convit_tiny", **CONVIT),
    "pit": dict(type="smallvit.TimmBackbone", model_name="pit_ti_224", **PIT),
    "pvtv2": dict(type="smallvit.TimmBackbone", model_name="pvt_v2_b0", **PVT),
    "deit": dict(type="mmpretrain.VisionTransformer", **VIT),
    "shortcut": dict(type="smallvit.DWConvShortcut", host="mmpretrain.VisionTransformer", **VIT),
}


class FusedCalls(TorchFunctionMode):
    """Count calls of PyTorch's fused attention."""

    count = 0

    def __torch_function__(self, func, types, args=(), kwargs=None):
        self.count += func is F.scaled_dot_product_attention
        return func(*args, **(kwargs or {}))


def inputs(dtype=torch.float64, tokens=7, **kwargs):
    torch.manual_seed(0)
    return [torch.randn(2, 3, n, 4, dtype=dtype, **kwargs) for n in (tokens, 5, 5)]


@pytest.fixture
def always(monkeypatch):
    """Select the explicit form wherever both are possible."""
    monkeypatch.setattr(attention_form, "is_explicit_faster", lambda *sizes: True)


@pytest.mark.parametrize("scale", [None, 0.3])
@pytest.mark.parametrize("with_mask", [False, True])
def test_both_forms_are_the_same_function(scale, with_mask):
    mask = torch.randn(3, 7, 5, dtype=torch.float64) if with_mask else None
    results = []
    for form in (explicit_attention, F.scaled_dot_product_attention):
        parts = inputs(requires_grad=True)
        out = form(*parts, attn_mask=mask, scale=scale)
        results.append((out, *torch.autograd.grad(out.square().sum(), parts)))
    for explicit, fused in zip(*results, strict=True):
        torch.testing.assert_close(explicit, fused)


def test_attention_weights_respect_boolean_masks():
    query, key, value = inputs()
    mask = torch.rand(7, 5) > 0.5
    mask[:, 0] = True
    weights = attention_weights(query, key, mask)
    assert not weights.masked_select(~mask).any()
    torch.testing.assert_close(
        weights @ value, F.scaled_dot_product_attention(query, key, value, attn_mask=mask)
    )


def test_dropout_of_the_explicit_form():
    query, key, _ = inputs(tokens=64)
    ones = torch.ones_like(key)
    out = explicit_attention(query, key, ones, dropout_p=0.5)
    assert out.mean() == pytest.approx(1, abs=0.1)
    assert out.std() > 0.1


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        (dict(gradients=False), False),
        (dict(device=torch.device("cuda")), False),
        (dict(queries=785, keys=785), False),
        (dict(queries=3136, keys=49), True),
        (dict(dtype=torch.float16), False),
        (dict(dtype=torch.float32), False),
        (dict(dtype=torch.float32, queries=17, keys=17), True),
        (dict(dtype=torch.float32, queries=17, keys=17, batch=1), False),
    ],
)
def test_table(monkeypatch, changes, expected):
    monkeypatch.setattr(attention_form, "has_bfloat16_instructions", lambda: True)
    monkeypatch.setattr(attention_form, "vector_instructions", lambda: "AVX2")
    deit = dict(batch=64, heads=3, queries=197, keys=197, gradients=True)
    case = dict(device=torch.device("cpu"), dtype=torch.bfloat16, **deit)
    assert is_explicit_faster(**case | changes) is expected


def test_the_table_asks_for_the_processor_that_was_measured(monkeypatch):
    monkeypatch.setattr(attention_form, "has_bfloat16_instructions", lambda: False)
    monkeypatch.setattr(attention_form, "vector_instructions", lambda: "AVX512")
    for dtype in (torch.bfloat16, torch.float32):
        assert not is_explicit_faster(torch.device("cpu"), dtype, 64, 3, 17, 17, True)


@pytest.mark.usefixtures("always")
def test_calls_that_remain_fused():
    with FusedCalls() as calls:
        attend(*inputs())
        assert calls.count == 0
        attend(*inputs(), is_causal=True)
        attend(*inputs(), attn_mask=torch.ones(7, 5, dtype=torch.bool))
        assert calls.count == 2


def test_gradients_are_only_required_for_trainable_inputs(monkeypatch):
    asked = []
    monkeypatch.setattr(
        attention_form, "is_explicit_faster", lambda *sizes: asked.append(sizes[-1])
    )
    attend(*inputs())
    attend(*inputs(requires_grad=True))
    with torch.no_grad():
        attend(*inputs(requires_grad=True))
    assert asked == [False, True, False]


@pytest.mark.usefixtures("always")
def test_captured_graphs_hold_the_fused_form():
    graph = torch.jit.trace(attend, tuple(inputs()), check_trace=False).graph
    assert "aten::scaled_dot_product_attention" in str(graph)


@pytest.mark.parametrize("name", NETWORKS)
def test_all_attention_of_a_network_is_switched(name, monkeypatch):
    torch.manual_seed(0)
    model = MODELS.build(NETWORKS[name])
    model.init_weights()
    model.eval()
    use_faster_attention(model)
    size = dict(pit=(64, 48), cascade=(224, 224)).get(name, (32, 32))
    images = torch.randn(2, 3, *size)
    found = []
    for explicit in (False, True):
        monkeypatch.setattr(attention_form, "is_explicit_faster", lambda *_, e=explicit: e)
        with FusedCalls() as calls:
            out = model(images)[-1]
        out = out[-1] if isinstance(out, (tuple, list)) else out
        assert (calls.count == 0) is explicit
        found.append([out, torch.autograd.grad(out.square().sum(), next(model.parameters()))[0]])
    for fused, written_out in zip(*found, strict=True):
        torch.testing.assert_close(written_out, fused, rtol=1e-3, atol=1e-4)


def test_the_switch_of_timm_is_set_by_sizes_and_type(monkeypatch):
    asked = []

    def choose(*sizes):
        asked.append(sizes[1:])
        return sizes[-1]

    monkeypatch.setattr(attention_form, "is_explicit_faster", choose)
    layer = TimmAttention(16, num_heads=2)
    layer.fused_attn = True  # regardless of the environment
    use_faster_attention(layer)
    use_faster_attention(layer)
    assert list(layer._forward_pre_hooks.values()) == [select_timm_attention]
    x = torch.randn(3, 5, 16)
    layer(x)
    assert not layer.fused_attn
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        pickle.loads(pickle.dumps(copy.deepcopy(layer)))(x)
        layer(x)
    assert layer.fused_attn
    assert asked == [(torch.float32, 3, 2, 5, 5, True), *[(torch.bfloat16, 3, 2, 5, 5, False)] * 2]


def test_keys_of_a_shrunken_map_are_fewer(monkeypatch):
    asked = []
    monkeypatch.setattr(
        attention_form, "is_explicit_faster", lambda *sizes: asked.append(sizes[4:6])
    )
    model = MODELS.build(NETWORKS["pvtv2"])
    use_faster_attention(model)
    model(torch.randn(1, 3, 32, 32))
    assert asked == [(64, 16), (16, 16)]


def test_replaced_attention_is_not_changed():
    model = MODELS.build(NETWORKS["deit"])
    first, second = (layer.attn for layer in model.layers)
    first.scaled_dot_product_attention = related = RelatedAttention(keep=False)
    use_faster_attention(model)
    assert first.scaled_dot_product_attention is related
    assert second.scaled_dot_product_attention is attend
    off = TimmAttention(16, num_heads=2)
    off.fused_attn = False
    use_faster_attention(off)
    assert not off._forward_pre_hooks


@pytest.mark.parametrize("v_shortcut", [False, True])
def test_attention_of_mmpretrain_splits_its_product_at_once(v_shortcut):
    torch.manual_seed(0)
    options = dict(input_dims=8, qkv_bias=True, v_shortcut=v_shortcut, layer_scale_init_value=0.5)
    layer = MultiheadAttention(16, 1 if v_shortcut else 2, **options)
    x, gradient = torch.randn(3, 5, 8), torch.randn(3, 5, 16)

    def results(module):
        tokens = x.clone().requires_grad_()
        with IndexedGradients() as zeros:
            out = module(tokens)
            found = torch.autograd.grad(out, [tokens, *module.parameters()], gradient)
        return [out, *found], zeros.count

    expected, many = results(layer)
    use_faster_attention(layer)
    for module in (layer, copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        found, none = results(module)
        assert all(map(torch.equal, found, expected))
        assert (many, none) == (3, 0)
    assert copy.deepcopy(layer).forward.args[0] is not layer
    compiled = torch.compile(layer, backend="eager", fullgraph=True)
    assert torch.equal(compiled(x), expected[0])


def test_models_of_configs_are_switched(monkeypatch):
    head = dict(type="LinearClsHead", num_classes=2, in_channels=16)
    cfg = Config(dict(model=dict(type="ImageClassifier", backbone=NETWORKS["deit"], head=head)))
    with DefaultScope.overwrite_default_scope("mmpretrain"):
        built = build_model(cfg)
        plain = MODELS.build(cfg.model)
    assert built.backbone.layers[0].attn.scaled_dot_product_attention is attend

    class Runner:
        model = plain

    monkeypatch.setattr(pipeline.Runner, "from_cfg", lambda cfg: Runner)
    for name in ("keep_own_file", "scale_rate_by_steps", "name_checkpoints"):
        monkeypatch.setattr(pipeline, name, lambda given: None)
    pipeline.build_runner(Config())
    assert plain.backbone.layers[0].attn.scaled_dot_product_attention is attend
