"""ViT-Tiny and Swin-T with shortcuts, compared with the reference numbers of the official code."""

import mmpretrain.models  # noqa: F401
import pytest
import torch

import backbone_checks as checks
from goldens import (
    assert_features_close,
    assert_outputs_close,
    assert_train_matches,
    load_golden,
    load_reference,
    reference_input,
)
from smallvit.converters import convert, identify, revert
from smallvit.hosts import Taps
from smallvit.registry import MODELS

SYSTEM = "dw_shortcut"
HOSTS = {
    "vit_tiny": dict(
        host="mmpretrain.VisionTransformer",
        arch="deit-tiny",
        qkv_bias=False,
        norm_cfg=dict(type="LN", eps=1e-5),
    ),
    "swin_tiny": dict(host="mmpretrain.SwinTransformer", arch="tiny", drop_path_rate=0.0),
}
CHANNELS = {"vit_tiny": 192, "swin_tiny": 768}
# Name of a tensor in the reference, and the block whose input it is.
INPUTS = {
    "vit_tiny": {"input of transformer.layers.1.0": 1, "input of transformer.layers.7.0": 7},
    "swin_tiny": {
        "input of layers.0.blocks.1": 1,
        "output of layers.0": 2,
        "input of layers.1.blocks.1": 3,
        "output of layers.1": 4,
        "input of layers.2.blocks.3": 7,
        "output of layers.2": 10,
    },
}
LAST = {"vit_tiny": "output of transformer", "swin_tiny": "output of layers.3"}


@pytest.fixture(scope="module", params=list(HOSTS))
def name(request):
    return request.param


@pytest.fixture(scope="module")
def model(name):
    backbone = MODELS.build(dict(type="smallvit.DWConvShortcut", **HOSTS[name]))
    model = checks.Classifier(backbone, CHANNELS[name])
    load_reference(model, load_golden(name), SYSTEM)
    return model


def test_logits_and_features(name, model):
    record = load_golden(name)
    assert sum(p.numel() for p in model.parameters()) == record["num_params"]["total"]
    model.train(False)
    inputs = Taps(model.backbone, list(INPUTS[name].values()), where="input")
    outputs = Taps(model.backbone, [-1])
    with inputs, outputs, torch.no_grad():
        assert_outputs_close(model(reference_input(record["eval"])), record)
        features = dict(zip(INPUTS[name], inputs.tokens(), strict=True))
        features[LAST[name]] = outputs.tokens()[0]
        assert_features_close(features, record)
    inputs.remove()
    outputs.remove()


def test_checkpoint_round_trips_and_is_identified(name, model):
    official = revert(SYSTEM, model.state_dict())
    assert {key: list(value.shape) for key, value in official.items()} == {
        key: shape for key, shape, _, _ in load_golden(name)["state_dict"]
    }
    key_map, names = identify(SYSTEM, official)
    assert key_map.name == f"{name.split('_')[0]}-shortcut"
    assert [name.endswith("_cifar100") for name in names] == [True]
    for key, value in convert(SYSTEM, official).items():
        assert torch.equal(value, model.state_dict()[key]), key


# This test must be the last, because it leaves the model in float64.
def test_training_step(name, model):
    assert_train_matches(model, load_golden(name), SYSTEM, forward=model)
