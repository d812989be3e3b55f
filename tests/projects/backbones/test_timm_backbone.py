"""timm models as backbones: parity of PVTv2, PiT and ConViT, and the wrapper."""

import pytest
import timm
import torch
from timm.models.convit import GPSA, ConVit
from torch import nn

import backbone_checks as checks
from smallvit.backbones import TimmBackbone
from smallvit.backbones.timm_backbone import OLDEST_TIMM
from smallvit.errors import UserError
from smallvit.layers.gpsa import FusedGPSA
from smallvit.registry import MODELS
from tool_helpers import ROOT

TINY_PVT = dict(
    model_name="pvt_v2_b0",
    embed_dims=(8, 16, 16, 16),
    depths=(1, 1, 1, 1),
    num_heads=(1, 1, 2, 2),
    mlp_ratios=(2, 2, 2, 2),
)
TINY_PIT = dict(
    model_name="pit_ti_224",
    img_size=(64, 48),
    base_dims=(8, 8, 8),
    depth=(1, 1, 1),
    heads=(1, 1, 2),
)
TINY_CONVIT = dict(
    model_name="convit_tiny",
    img_size=(64, 48),
    embed_dim=4,
    num_heads=4,
    depth=3,
    local_up_to_layer=2,
)
TINY = dict(pvt=TINY_PVT, pit=TINY_PIT, convit=TINY_CONVIT)


def build(**kwargs):
    torch.manual_seed(0)
    return MODELS.build(dict(type="smallvit.TimmBackbone", **kwargs))


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, 64, 48)


def test_pvtv2_matches_reference():
    model = checks.Classifier(TimmBackbone("pvt_v2_b0", norm_eps=1e-6), 256)
    stages = zip(model.backbone.timm_model.stages, (56, 28, 14, 7), strict=True)
    blocks = [(block, grid) for stage, grid in stages for block in stage.blocks]
    checks.assert_golden("pvtv2_b0", model, blocks)


def test_pit_matches_reference():
    model = checks.Classifier(TimmBackbone("pit_ti_224"), 256)
    stages = zip(model.backbone.timm_model.transformers, (27, 14, 7), strict=True)
    blocks = [(block, grid) for stage, grid in stages for block in stage.blocks]
    checks.assert_golden("pit_ti", model, blocks)


def test_convit_matches_reference():
    model = checks.Classifier(TimmBackbone("convit_tiny"), 192)
    blocks = [(block, 14) for block in model.backbone.timm_model.blocks]
    checks.assert_golden("convit_ti", model, blocks)


@pytest.fixture
def gated():
    """A gated attention layer with position parameters, and an input with a 3x3 grid."""
    torch.manual_seed(0)
    original = GPSA(16, num_heads=4).double()
    nn.init.normal_(original.gating_param)
    nn.init.normal_(original.pos_proj.weight)
    original.rel_indices = original.get_rel_indices(9).double()
    return original, torch.randn(2, 9, 16, dtype=torch.float64)


def test_fused_gated_attention_is_the_original(gated):
    original, x = gated
    expected = original(x)
    expected.square().sum().backward()
    grads = {name: p.grad.clone() for name, p in original.named_parameters()}
    original.zero_grad()
    fused = FusedGPSA(original, (3, 3)).double()
    out = fused(x)
    torch.testing.assert_close(out, expected)
    out.square().sum().backward()
    for name, p in fused.named_parameters():
        torch.testing.assert_close(p.grad, grads[name], msg=name)


def test_dropout_of_position_attention(gated):
    """With dropout, the full map is computed, which equals mixing one axis after the other."""
    original, x = gated
    fused = FusedGPSA(original, (3, 3)).double()
    expected = fused.mix_by_position(x)
    fused.attn_drop.p = 1e-12
    torch.testing.assert_close(fused.train().mix_by_position(x), expected)
    fused.attn_drop.p = 1.0
    assert not fused.mix_by_position(x).any()


def test_positions_of_an_oblong_grid(gated):
    original, _ = gated
    fused = FusedGPSA(original, (2, 3)).double()
    y, x = (
        axis.flatten().double()
        for axis in torch.meshgrid(*map(torch.arange, (2, 3)), indexing="ij")
    )
    dy, dx = (axis[None, :] - axis[:, None] for axis in (y, x))
    logits = original.pos_proj(torch.stack((dx, dy, dx**2 + dy**2), dim=-1))
    rows, columns = fused.position_maps()
    pairs = rows[:, :, None, :, None] * columns[:, None, :, None, :]
    expected = logits.permute(2, 0, 1).softmax(dim=-1)
    torch.testing.assert_close(pairs.reshape(4, 6, 6), expected)


def test_an_older_timm_is_refused(monkeypatch):
    """Its class token would be dropped silently."""
    requirements = (ROOT / "requirements/runtime.txt").read_text()
    assert f"timm>={OLDEST_TIMM}\n" in requirements
    monkeypatch.setattr(timm, "__version__", "1.0.25")
    with pytest.raises(UserError, match=r"got 1\.0\.25.*timm>=1\.0\.26"):
        build(model_name="vit_tiny_patch16_224", pos_embed="none")


@pytest.mark.parametrize("name", TINY)
def test_pooled_features(name, images):
    model = build(**TINY[name])
    (pooled,) = model.eval()(images)
    assert pooled.shape == (2, 16)


@pytest.mark.parametrize(
    ("name", "indices", "shapes"),
    [
        ("pvt", (0, 1, 2, 3), [(8, 16, 12), (16, 8, 6), (16, 4, 3), (16, 2, 2)]),
        ("pit", (0, -1), [(8, 7, 5), (16, 2, 2)]),
        ("convit", (1, 2), [(16, 4, 3), (16, 4, 3)]),
    ],
)
def test_maps(name, indices, shapes, images):
    if name == "convit" and not hasattr(ConVit, "forward_intermediates"):
        pytest.skip("this timm does not support intermediate features of ConViT")
    model = build(**TINY[name], out_type="featmap", out_indices=indices)
    maps = model(images)
    assert [tuple(m.shape[1:]) for m in maps] == shapes
    assert model.out_channels == tuple(shape[0] for shape in shapes)
    sum(m.square().mean() for m in maps).backward()
    assert not [n for n, p in model.named_parameters() if p.grad is None and "cls_token" not in n]


def test_raw_features(images):
    (raw,) = build(**TINY_CONVIT, out_type="raw")(images)
    assert raw.shape == (2, 13, 16)


def test_maps_and_pooled_features_come_from_one_checkpoint(images):
    pooled, maps = build(**TINY_PVT), build(**TINY_PVT, out_type="featmap")
    missing = maps.load_state_dict(pooled.state_dict(), strict=False)
    assert not missing.missing_keys
    with torch.no_grad():
        expected = pooled.eval()(images)[0]
        torch.testing.assert_close(maps.eval()(images)[0].mean(dim=(2, 3)), expected)


def test_other_families_of_timm(images):
    assert build(model_name="resnet10t")(images)[0].shape == (2, 512)
    maps = build(model_name="resnet10t", out_type="featmap", out_indices=(1, 4))(images)
    assert [m.shape[-2:] for m in maps] == [(16, 12), (2, 2)]


def test_initialisation_is_timms(images):
    """MMEngine's recursion would call timm's init_weights and overwrite loaded weights."""
    model = build(model_name="vit_tiny_patch16_224", img_size=(64, 48))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.init_weights()
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_settings_reach_the_model():
    model = build(**TINY_PVT, drop_path_rate=0.3, norm_eps=1e-3)
    assert {m.eps for m in model.modules() if isinstance(m, nn.LayerNorm)} == {1e-3}
    rates = [s.blocks[0].drop_path1 for s in model.timm_model.stages]
    assert rates[-1].drop_prob == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        (dict(model_name="pvt_v2_b00"), ["pvt_v2_b00", "pvt_v2_b0"]),
        (dict(model_name="nothing_like_it"), ["nothing_like_it", "list_models"]),
        (dict(model_name="pit_ti_224", out_type="map"), ["map", "featmap", "pooled"]),
        (dict(model_name="pit_ti_224", with_cp=True), ["pit_ti_224", "with_cp=False"]),
        (
            dict(**TINY_PVT, out_type="featmap", out_indices=(4,)),
            ["out_indices", "4 levels", "0 to 3"],
        ),
    ],
)
def test_wrong_arguments_are_named(kwargs, words):
    with pytest.raises(ValueError, match=r"timm|out_type|out_indices") as error:
        TimmBackbone(**kwargs)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize("name", TINY)
def test_batch_of_one(name, images):
    checks.assert_batch_of_one(build(**TINY[name]), images)


@pytest.mark.parametrize("name", TINY)
def test_autocast(name, images):
    checks.assert_autocast(build(**TINY[name]), images)


def test_gradient_checkpointing(images):
    checks.assert_checkpointing(lambda with_cp: build(**TINY_PVT, with_cp=with_cp), images)


@pytest.mark.parametrize("name", TINY)
def test_onnx(name, images):
    if name == "convit":
        checks.skip_unless_scaled_attention_exports()
    checks.assert_exports(build(**TINY[name]), images)


@pytest.mark.parametrize(
    "name", [n if n == "convit" else pytest.param(n, marks=pytest.mark.exhaustive) for n in TINY]
)
def test_torch_compile(name, images):
    checks.assert_compiles(build(**TINY[name]), images)


def test_failed_downloads_are_named(monkeypatch):
    def create(name, pretrained, **options):
        raise FileNotFoundError("no entry in the cache\nand a second line")

    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(UserError, match=r"cannot download .*cache\)\. .*--pretrained FILE"):
        TimmBackbone("resnet10t", pretrained=True)
    with pytest.raises(FileNotFoundError):
        TimmBackbone("resnet10t")
