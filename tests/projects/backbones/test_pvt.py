"""PVT: parity with tiny-transformers, output formats and argument checks."""

import pytest
import torch

import backbone_checks as checks
from smallvit.backbones import PVT
from smallvit.registry import MODELS

ARCH = dict(
    embed_dims=(8, 16),
    depths=(1, 2),
    num_heads=(1, 2),
    mlp_ratios=(2, 2),
    sr_ratios=(2, 1),
    patch_sizes=(4, 2),
)


def small(**kwargs):
    torch.manual_seed(0)
    model = MODELS.build(dict(type="smallvit.PVT", arch=ARCH, img_size=32, **kwargs))
    model.init_weights()
    return model


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, 40, 24)


def test_matches_reference():
    model = checks.Classifier(PVT("tiny"), 512)
    grids = (56, 28, 14, 7)
    blocks = [
        (block, grid)
        for stage, grid in zip(model.backbone.stages, grids, strict=True)
        for block in stage.blocks
    ]
    checks.assert_golden("pvt_ti", model, blocks)


@pytest.mark.parametrize(
    ("out_type", "shapes"),
    [
        ("cls_token", [(2, 16)]),
        ("avg_featmap", [(2, 16)]),
        ("raw", [(2, 1 + 5 * 3, 16)]),
        ("featmap", [(2, 8, 10, 6), (2, 16, 5, 3)]),
    ],
)
def test_output_types_on_an_oblong_image(out_type, shapes, images):
    outputs = small(out_type=out_type, out_indices=(0, -1))(images)
    assert [tuple(output.shape) for output in outputs] == shapes


def test_oblong_positions_follow_the_image(images):
    """A transposed image with transposed weights gives the transposed map."""
    model = small(out_type="featmap", out_indices=(0,)).eval()
    with torch.no_grad():
        expected = model(images)[0].transpose(2, 3)
        for stage in model.stages:
            stage.proj.weight.copy_(stage.proj.weight.transpose(2, 3).clone())
            extra = stage.num_extra_tokens
            table = stage.pos_embed[:, extra:].unflatten(1, stage.grid).transpose(1, 2)
            stage.pos_embed[:, extra:] = table.flatten(1, 2).clone()
            for block in stage.blocks:
                if block.attn.sr is not None:
                    weight = block.attn.sr.weight
                    weight.copy_(weight.transpose(2, 3).clone())
        actual = model(images.transpose(2, 3))[0]
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


def test_loads_weights_of_another_image_size():
    source, target = small(), MODELS.build(dict(type="smallvit.PVT", arch=ARCH, img_size=(48, 32)))
    target.load_state_dict(source.state_dict())
    x = torch.randn(1, 3, 48, 32)
    with torch.no_grad():
        torch.testing.assert_close(target.eval()(x)[0], source.eval()(x)[0])


def test_switches():
    bare = small(with_cls_token=False, with_pos_embed=False, out_type="avg_featmap")
    assert not [name for name in bare.state_dict() if "cls_token" in name or "pos_embed" in name]
    normed = small(out_type="featmap", out_norm=True, out_indices=(0, 1))
    for feature in normed.eval()(torch.randn(1, 3, 32, 32)):
        assert feature.mean(dim=1).abs().max() < 1e-5


def test_stochastic_depth_grows_over_all_blocks():
    model = small(drop_path_rate=0.4)
    rates = [block.drop_path.drop_prob for stage in model.stages for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.2, 0.4])


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        (dict(arch="tny"), ["PVT", "tny", "tiny", "large"]),
        (dict(arch=dict(depths=(1,))), ["missing", "embed_dims", "sr_ratios"]),
        (dict(out_type="tokens"), ["tokens", "cls_token"]),
        (dict(out_indices=(0, 4)), ["out_indices", "4", "0 to 3"]),
        (dict(frozen_stages=4), ["frozen_stages", "-1 to 3", "got 4"]),
        (dict(with_cls_token=False), ["cls_token", "avg_featmap"]),
        (dict(arch=dict(ARCH, num_heads=(3, 2))), ["embed_dims=8", "num_heads=3"]),
    ],
)
def test_wrong_arguments_are_named(kwargs, words):
    with pytest.raises(ValueError, match=r"out_type|arch|out_indices|frozen|num_heads") as error:
        PVT(**kwargs)
    assert all(word in str(error.value) for word in words)


def test_batch_of_one(images):
    checks.assert_batch_of_one(small(), images)


def test_autocast(images):
    checks.assert_autocast(small(out_type="featmap", out_indices=(0, 1)), images)


def test_gradient_checkpointing(images):
    checks.assert_checkpointing(small, images)


def test_frozen_stages():
    model = small(frozen_stages=0)
    checks.assert_frozen(model, model.stages[:1])


def test_onnx(images):
    checks.assert_exports(small(), images)


@pytest.mark.exhaustive
def test_torch_compile(images):
    checks.assert_compiles(small(), images)
