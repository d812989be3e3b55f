"""DHVT: parity with the official code, its components, and its switches."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import backbone_checks as checks
from smallvit.backbones import DHVT
from smallvit.layers import DAFF, SOPE, Attention, HeadInteractedAttention
from smallvit.registry import MODELS

ARCH = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32)


def small(**kwargs):
    torch.manual_seed(0)
    model = MODELS.build(dict(type="smallvit.DHVT", arch=ARCH, patch_size=4, **kwargs))
    model.init_weights()
    return model


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, 24, 18)


@pytest.mark.parametrize(
    ("golden", "kwargs", "channels"),
    [
        ("dhvt_tiny_cifar_patch4", dict(arch="tiny", patch_size=4, num_heads=4), 192),
        ("dhvt_small_imagenet_patch16", dict(arch="small", patch_size=16), 384),
    ],
)
def test_matches_reference(golden, kwargs, channels):
    model = checks.Classifier(DHVT(**kwargs), channels)
    tokens = {f"output of blocks.{i}": model.backbone.layers[i] for i in (0, 6, 11)}
    checks.assert_golden(golden, model, [], "dhvt", tokens)


@pytest.mark.parametrize(
    ("arch", "patch_size", "num_heads", "count"),
    [
        ("tiny", 2, 4, 5_845_162),
        ("small", 2, 8, 22_766_698),
        ("small", 4, 8, 23_425_450),
        ("tiny", 16, 4, 6_058_690),
        ("tiny", 16, 3, 6_093_634),
    ],
)
def test_published_sizes(arch, patch_size, num_heads, count):
    with torch.device("meta"):
        model = checks.Classifier(DHVT(arch, patch_size, num_heads), 192 if arch == "tiny" else 384)
    assert sum(p.numel() for p in model.parameters()) == count


@pytest.mark.parametrize(
    ("out_type", "shape"),
    [
        ("cls_token", (2, 16)),
        ("avg_featmap", (2, 16)),
        ("raw", (2, 1 + 6 * 5, 16)),
        ("featmap", (2, 16, 6, 5)),
    ],
)
def test_output_types_on_an_oblong_image(out_type, shape, images):
    outputs = small(out_type=out_type, out_indices=(0, -1))(images)
    assert [tuple(output.shape) for output in outputs] == [shape, shape]


def test_an_oblong_image_is_seen_in_its_own_shape(images):
    """A transposed image with transposed kernels gives the transposed map."""
    model = small(out_type="featmap").eval()
    with torch.no_grad():
        expected = model(images)[0].transpose(2, 3)
        for module in model.modules():
            if isinstance(module, nn.Conv2d):
                module.weight.copy_(module.weight.transpose(2, 3).clone())
        actual = model(images.transpose(2, 3))[0]
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


INNER = {
    # Scale and shift for 3 and for 16 channels.
    "with_affine": ("with_sope", 2 * (3 + 16)),
    "with_shortcut": ("with_daff", 0),
    # Two linear layers in each of three blocks, from 16 to 4 channels and back.
    "with_excitation": ("with_daff", 3 * (16 * 4 + 4 + 4 * 16 + 16)),
}


@pytest.mark.parametrize(("switch", "part", "fewer"), [(k, *v) for k, v in INNER.items()])
def test_inner_switches(switch, part, fewer, images):
    whole, without = small().eval(), small(**{switch: False}).eval()
    state = without.state_dict()
    lacking = {key: value for key, value in whole.state_dict().items() if key not in state}
    assert sum(value.numel() for value in lacking.values()) == fewer
    with torch.no_grad():
        for module in whole.modules():
            if hasattr(module, "alpha"):
                module.alpha.mul_(1.5)
        without.load_state_dict({key: whole.state_dict()[key] for key in state})
        assert (whole(images)[0] - without(images)[0]).abs().max() > 1e-4
    with pytest.raises(ValueError, match=f"{switch}=False.*{part}=False"):
        small(**{switch: False, part: False})


def test_norm_eval_keeps_statistics(images):
    """Equals the network in eval mode, but all parameters still receive gradients."""
    model, reference = small(norm_eval=True), small()
    for module in reference.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
    model.load_state_dict(reference.state_dict())
    expected = reference.eval()(images)[0]
    found = model.train()(images)[0]
    torch.testing.assert_close(found, expected)
    found.square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    for key, value in reference.state_dict().items():
        assert torch.equal(model.state_dict()[key], value)


def test_without_its_parts_it_is_deit(images):
    from mmpretrain.models import VisionTransformer

    model = small(
        with_sope=False,
        with_daff=False,
        with_head_tokens=False,
        with_pos_embed=True,
        img_size=(24, 20),
    )
    arch = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32)
    deit = VisionTransformer(arch, img_size=(24, 20), patch_size=4)
    renamed = {
        key.replace("norm1", "ln1")
        .replace("norm2", "ln2")
        .replace("mlp.fc1", "ffn.layers.0.0")
        .replace("mlp.fc2", "ffn.layers.1"): value
        for key, value in model.state_dict().items()
    }
    renamed = {f"ln1{k[4:]}" if k.startswith("norm.") else k: v for k, v in renamed.items()}
    deit.load_state_dict(renamed)
    deit.eval()
    x = torch.randn(2, 3, 24, 20)
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(x), deit(x), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("switch", "part"),
    [("with_sope", SOPE), ("with_daff", DAFF), ("with_head_tokens", HeadInteractedAttention)],
)
def test_each_mechanism_can_be_disabled_separately(switch, part, images):
    model = small(**{switch: False})
    parts = (SOPE, DAFF, HeadInteractedAttention)
    left = {kind for kind in parts for module in model.modules() if isinstance(module, kind)}
    assert left == set(parts) - {part}
    assert model(images)[0].shape == (2, 16)


def test_daff_reads_neighbours_and_recalibrates_the_class_token():
    torch.manual_seed(0)
    daff = DAFF(8, 16).eval()
    x = torch.randn(1, 1 + 4 * 3, 8, requires_grad=True)
    daff(x, (4, 3))[0, 1].sum().backward()
    touched = x.grad[0, 1:].abs().sum(-1).reshape(4, 3) > 0
    assert touched.nonzero().tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    patches_only = daff(x[:, 1:], (4, 3))
    torch.testing.assert_close(patches_only, daff(x, (4, 3))[:, 1:])
    still = DAFF(8, 16, with_excitation=False).eval()
    torch.testing.assert_close(still(x, (4, 3))[:, 0], x[:, 0])
    with pytest.raises(ValueError, match="a grid of 5x5 patches, got 13"):
        daff(x, (5, 5))


@pytest.mark.parametrize("norm_cfg", [dict(type="BN"), dict(type="GN", num_groups=2)])
def test_daff_in_eval_mode_equals_the_unfolded_one(norm_cfg):
    torch.manual_seed(0)
    daff = DAFF(8, 16, norm_cfg=norm_cfg)
    for _ in range(3):
        daff(torch.randn(4, 12, 8), (4, 3))
    daff.eval()
    x = torch.randn(2, 8, 4, 3)
    with torch.no_grad():
        hidden = nn.functional.gelu(daff.norm1(daff.conv1(x)))
        hidden = hidden + nn.functional.gelu(daff.norm2(daff.conv2(hidden)))
        torch.testing.assert_close(daff.aggregate(x), daff.norm3(daff.conv3(hidden)))


def test_head_tokens_only_add_to_the_class_token():
    torch.manual_seed(0)
    attention = HeadInteractedAttention(16, 4).eval()
    x = torch.randn(2, 7, 16)
    with torch.no_grad():
        out = attention(x)
        plain = Attention.forward(attention, torch.cat((x, attention.head_tokens(x)), dim=1))
    torch.testing.assert_close(out[:, 1:], plain[:, 1:7])
    torch.testing.assert_close(out[:, 0], plain[:, 0] + plain[:, 7:].mean(dim=1))
    attention.with_cls_token = False
    torch.testing.assert_close(attention(x), plain[:, :7])


@settings(max_examples=15)
@given(
    log2=st.integers(1, 4),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
)
def test_sope_takes_any_size(log2, height, width):
    sope = SOPE(16, 2**log2).eval()
    with torch.no_grad():
        tokens, hw = sope(torch.randn(1, 3, height, width))
    assert hw == sope.grid((height, width))
    assert tokens.shape == (1, hw[0] * hw[1], 16)


def test_stochastic_depth_grows():
    model = small(drop_path_rate=0.4)
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in model.layers]
    assert rates == pytest.approx([0.0, 0.2, 0.4])


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        (dict(arch="base"), ["DHVT", "base", "small, tiny"]),
        (dict(patch_size=6), ["patch_size", "power of two", "got 6"]),
        (dict(arch=dict(ARCH, embed_dims=12)), ["embed_dims", "multiple of 8", "got 12"]),
        (dict(num_heads=5), ["embed_dims=192", "num_heads=5"]),
        (dict(out_type="tokens"), ["tokens", "cls_token"]),
        (dict(out_indices=12), ["out_indices", "0 to 11"]),
        (dict(frozen_stages=13), ["frozen_stages", "-1 to 12", "got 13"]),
    ],
)
def test_wrong_arguments_are_named(kwargs, words):
    with pytest.raises(ValueError, match=r"\w") as error:
        DHVT(**kwargs)
    assert all(word in str(error.value) for word in words)


def test_batch_of_one(images):
    checks.assert_batch_of_one(small(), images)


def test_autocast(images):
    checks.assert_autocast(small(out_type="raw"), images)


def test_gradient_checkpointing(images):
    checks.assert_checkpointing(small, images)


def test_onnx(images):
    checks.assert_exports(small(), images)


@pytest.mark.slow
def test_torch_compile(images):
    checks.assert_compiles(small(), images)
