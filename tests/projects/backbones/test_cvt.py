"""CvT: parity with tiny-transformers, output formats and argument checks."""

import pytest
import torch

import backbone_checks as checks
from smallvit.backbones import CvT
from smallvit.registry import MODELS

ARCH = dict(
    embed_dims=(8, 16),
    depths=(1, 2),
    num_heads=(1, 2),
    mlp_ratios=(2, 2),
    kernel_sizes=(7, 3),
    strides=(4, 2),
    paddings=(2, 1),
)


def small(**kwargs):
    torch.manual_seed(0)
    model = MODELS.build(dict(type="smallvit.CvT", arch=ARCH, **kwargs))
    model.init_weights()
    return model


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, 44, 28)


def test_matches_reference():
    model = checks.Classifier(CvT("13"), 384)
    blocks = [
        (block, grid)
        for stage, grid in zip(model.backbone.stages, (56, 28, 14), strict=True)
        for block in stage.blocks
    ]
    checks.assert_golden("cvt_13", model, blocks)


@pytest.mark.parametrize(
    ("out_type", "shapes"),
    [
        ("cls_token", [(2, 16)]),
        ("avg_featmap", [(2, 16)]),
        ("raw", [(2, 1 + 6 * 4, 16)]),
        ("featmap", [(2, 8, 11, 7), (2, 16, 6, 4)]),
    ],
)
def test_output_types_on_an_oblong_image(out_type, shapes, images):
    outputs = small(out_type=out_type, out_indices=(0, -1))(images)
    assert [tuple(output.shape) for output in outputs] == shapes


def test_evaluation_folds_the_norm_without_changing_it(images):
    """Folded in eval mode, unfolded in training mode; the results agree for equal statistics."""
    model = small(out_type="featmap", out_indices=(0, 1))
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = None
    features = {}
    conv = model.stages[0].blocks[0].attn.conv_k
    conv.register_forward_hook(lambda module, args, output: features.update(conv=(args[0], output)))
    model.train()(images)
    x, expected = features["conv"]
    count = expected[:, 0].numel()
    # Training normalizes by the biased variance, but the running statistics store the unbiased one.
    conv.bn.running_var.mul_((count - 1) / count)
    torch.testing.assert_close(conv.eval()(x), expected, rtol=1e-4, atol=1e-5)


def test_switches(images):
    bare = small(with_cls_token=False, out_type="avg_featmap")
    assert not [name for name in bare.state_dict() if "cls_token" in name]
    assert bare(images)[0].shape == (2, 16)
    full = small(stride_kv=1)
    assert full(images)[0].shape == (2, 16)


def test_stochastic_depth_is_in_the_last_stage():
    model = small(drop_path_rate=0.4)
    rates = [block.drop_path.drop_prob for stage in model.stages for block in stage.blocks]
    assert rates == pytest.approx([0.0, 0.0, 0.4])


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        (dict(arch="14"), ["CvT", "14", "13", "21"]),
        (dict(out_indices=(3,)), ["out_indices", "3 stages", "0 to 2"]),
        (dict(arch=dict(ARCH, num_heads=(3, 2))), ["embed_dims=8", "num_heads=3"]),
    ],
)
def test_wrong_arguments_are_named(kwargs, words):
    with pytest.raises(ValueError, match=r"arch|out_indices|num_heads") as error:
        CvT(**kwargs)
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
    checks.skip_unless_scaled_attention_exports()
    checks.assert_exports(small(), images)


@pytest.mark.exhaustive
def test_torch_compile(images):
    checks.assert_compiles(small(), images)
