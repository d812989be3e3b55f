"""T2T-ViT: parity with tiny-transformers and DVT, both token encoders, any image size."""

import pytest
import torch

import backbone_checks as checks
from goldens import assert_tensor_close, load_golden, reference_input, reference_state
from smallvit.backbones import T2TViT
from smallvit.converters import convert
from smallvit.layers import TokenPerformer, TokenTransformer
from smallvit.registry import MODELS

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)


def small(**kwargs):
    torch.manual_seed(0)
    cfg = dict(type="smallvit.T2TViT", arch=ARCH, img_size=48, token_dims=8)
    model = MODELS.build(cfg | kwargs)
    model.init_weights()
    return model


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, 48, 32)


def test_matches_tiny_transformers():
    model = checks.Classifier(T2TViT("7"), 256)
    blocks = [(layer, 14) for layer in model.backbone.layers]
    tokens = {"output of t2t_module": model.backbone.patch_embed}
    checks.assert_golden("t2t_vit_7", model, blocks, tokens=tokens)


def test_matches_the_first_exit_of_dvt():
    record = load_golden("dvt_t2t_vit_12")
    prefix = "less_less_token."
    state = {
        key.removeprefix(prefix): value
        for key, value in reference_state(record).items()
        if key.startswith(prefix)
    }
    backbone = T2TViT("12", token_grid=7, norm_cfg=dict(type="LN", eps=1e-5))
    model = checks.Classifier(backbone, 256).eval()
    state["pos_embed"] = backbone.pos_embed
    model.load_state_dict(convert("dvt", state))
    with torch.no_grad():
        logits = model(reference_input(record["eval"]))
    assert_tensor_close(logits, record["eval"]["outputs"][0])


@pytest.mark.parametrize(("arch", "count"), [("7", 4_078_922), ("14", 21_199_050)])
def test_published_sizes(arch, count):
    model = checks.Classifier(T2TViT(arch), T2TViT.arch_zoo[arch]["embed_dims"])
    assert sum(value.numel() for value in model.state_dict().values()) == count


@pytest.mark.parametrize("grid", [14, 10, 7])
def test_token_grids(grid):
    model = small(img_size=224, token_grid=grid, out_type="featmap")
    assert model.patch_resolution == (grid, grid)
    with torch.no_grad():
        assert model(torch.randn(1, 3, 224, 160))[0].shape[2] == grid


@pytest.mark.parametrize(
    ("out_type", "shape"),
    [("cls_token", (2, 16)), ("raw", (2, 7, 16)), ("featmap", (2, 16, 3, 2))],
)
@pytest.mark.parametrize("token_encoder", ["performer", "transformer"])
def test_output_types_on_an_oblong_image(token_encoder, out_type, shape, images):
    model = small(token_encoder=token_encoder, out_type=out_type)
    assert model(images)[0].shape == shape


def test_an_oblong_image_keeps_its_rows(images):
    """Pixels in one corner have the largest effect on the token in that corner."""
    model = small(out_type="featmap").eval().patch_embed
    x = images[:1].requires_grad_()
    tokens, hw = model(x)
    assert hw == (3, 2)
    grad = torch.autograd.grad(tokens[0, -1].sum(), x)[0].abs().sum(1)[0]
    assert grad[32:, 16:].mean() > 10 * grad[:16, :16].mean()


def test_performer_estimates_softmax_attention():
    torch.manual_seed(0)
    performer = TokenPerformer(4, 8, kernel_ratio=1.0)
    performer.features = torch.randn(20000, 8)
    query, key, value = (0.3 * torch.randn(1, 6, 8) for _ in range(3))
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, value, scale=1.0)
    torch.testing.assert_close(performer.attend(key, query, value), expected, rtol=0.05, atol=0.01)


def test_token_transformer_by_hand():
    torch.manual_seed(0)
    encoder = TokenTransformer(6, 4).eval()
    x = torch.randn(2, 5, 6)
    with torch.no_grad():
        query, key, value = encoder.attn.qkv(encoder.norm1(x)).chunk(3, dim=-1)
        weights = (query @ key.transpose(1, 2) / 6**0.5).softmax(dim=-1)
        mixed = value + encoder.attn.proj(weights @ value)
        expected = mixed + encoder.mlp(encoder.norm2(mixed))
        torch.testing.assert_close(encoder(x), expected)


def test_performer_is_exact_under_autocast():
    """Exponentials of bfloat16 values would be off by several percent."""
    performer = TokenPerformer(4, 8)
    query, key, value = (torch.randn(1, 6, 8) for _ in range(3))
    expected = performer.attend(key, query, value)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(performer.attend(key, query, value), expected)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        (dict(arch="8"), ["T2TViT", "'8'", "14"]),
        (dict(token_grid=9), ["token_grid", "14, 10, 7", "got 9"]),
        (dict(token_encoder="conv"), ["token_encoder", "performer", "got 'conv'"]),
        (
            dict(token_grid=dict(kernel_sizes=(7,), strides=(4,), paddings=(2,))),
            ["at least two"],
        ),
    ],
)
def test_wrong_arguments_are_named(kwargs, words):
    with pytest.raises(ValueError, match=r"\w") as error:
        T2TViT(**kwargs)
    assert all(word in str(error.value) for word in words)


def test_batch_of_one(images):
    checks.assert_batch_of_one(small(), images)


def test_autocast(images):
    checks.assert_autocast(small(out_type="raw"), images)


def test_onnx(images):
    checks.assert_exports(small(), images)


@pytest.mark.exhaustive
def test_torch_compile(images):
    checks.assert_compiles(small(), images)
