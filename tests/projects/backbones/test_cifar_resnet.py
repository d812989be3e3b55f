"""CIFAR ResNet: parity with tiny-transformers, output formats and argument checks."""

import pytest
import torch

import backbone_checks as checks
from smallvit.backbones import CifarResNet
from smallvit.registry import MODELS


def small(**kwargs):
    torch.manual_seed(0)
    model = MODELS.build(dict(type="smallvit.CifarResNet", depth=8, base_channels=4, **kwargs))
    model.init_weights()
    return model


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, 20, 12)


def test_matches_reference():
    model = checks.Classifier(CifarResNet(56), 64)
    checks.assert_golden("resnet56", model, [(stage, None) for stage in model.backbone.stages])


@pytest.mark.parametrize(("depth", "parameters"), [(20, 278_324), (56, 861_620)])
def test_parameter_count(depth, parameters):
    with torch.device("meta"):
        model = checks.Classifier(CifarResNet(depth), 64)
    assert sum(p.numel() for p in model.parameters()) == parameters


def test_maps_of_an_oblong_image(images):
    maps = small(out_indices=(0, 1, 2))(images)
    assert [tuple(m.shape) for m in maps] == [(2, 4, 20, 12), (2, 8, 10, 6), (2, 16, 5, 3)]


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        (dict(depth=18), ["depth", "got 18", "20"]),
        (dict(depth=2), ["depth", "got 2", "8"]),
        (dict(out_indices=3), ["out_indices", "0 to 2"]),
        (dict(frozen_stages=3), ["frozen_stages", "-1 to 2", "got 3"]),
    ],
)
def test_wrong_arguments_are_named(kwargs, words):
    with pytest.raises(ValueError, match=r"depth|out_indices|frozen") as error:
        CifarResNet(**kwargs)
    assert all(word in str(error.value) for word in words)


@pytest.mark.parametrize(("base_channels", "last"), [(4, False), (7, False), (8, True), (16, True)])
def test_memory_format_on_a_cpu(images, base_channels, last):
    # In channels-last format, the gradients of fewer than 8 channels crash the process.
    (result,) = CifarResNet(8, base_channels=base_channels)(images)
    assert result.is_contiguous(memory_format=torch.channels_last) == last
    result.sum().backward()


def test_batch_of_one(images):
    checks.assert_batch_of_one(small(), images)


def test_autocast(images):
    checks.assert_autocast(small(), images)


def test_gradient_checkpointing(images):
    checks.assert_checkpointing(small, images)


def test_frozen_stages():
    model = small(frozen_stages=0)
    checks.assert_frozen(model, [model.conv1, model.bn1, model.stages[0]])


def test_onnx(images):
    checks.assert_exports(small(), images)


def test_torch_compile(images):
    checks.assert_compiles(small(), images)
