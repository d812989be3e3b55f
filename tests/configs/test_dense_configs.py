"""Detectors and segmentors with guided and shortcut backbones: output shapes at full size."""

import pytest
import torch

from config_helpers import build, read_config

FOLDERS = {
    "locality_guidance": ("pvtv2-b0", "cvt-13"),
    "dw_shortcut": ("swin-t", "vit-s"),
}
FULL = [f"{folder}/{model}" for folder, models in FOLDERS.items() for model in models]


@pytest.mark.parametrize("name", FULL)
def test_detector_has_a_pyramid(name, uninitialized):
    model = build(read_config(f"{name}_coco.py")).eval()
    with torch.no_grad():
        pyramid = model.extract_feat(torch.zeros(1, 3, 128, 64))
    assert [tuple(level.shape[1:]) for level in pyramid] == [
        (256, 128 // stride, 64 // stride) for stride in (4, 8, 16, 32, 64)
    ]


@pytest.mark.parametrize("name", FULL)
def test_segmentor_predicts_at_a_quarter(name, uninitialized):
    model = build(read_config(f"{name}_ade20k.py")).eval()
    with torch.no_grad():
        features = model.extract_feat(torch.zeros(1, 3, 128, 64))
        assert model.decode_head(features).shape == (1, 150, 32, 16)
        assert model.auxiliary_head(features).shape == (1, 150, 8, 4)
