"""Detectors and segmentors of the guided and the shortcut backbones: shapes and training."""

from itertools import islice

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner

from config_helpers import build, read_config, scope_of

FOLDERS = {
    "locality_guidance": ("pvtv2-b0", "cvt-13"),
    "dw_shortcut": ("swin-t", "vit-s"),
}
FULL = [f"{folder}/{model}" for folder, models in FOLDERS.items() for model in models]
TWINS = [
    f"{folder}_digits-{task}.py"
    for folder in (
        "locality_guidance/pvtv2-b0",
        "locality_guidance/cvt-mini",
        "dw_shortcut/swin-mini",
        "dw_shortcut/vit-mini",
    )
    for task in ("det", "seg")
]


@pytest.mark.parametrize("name", FULL)
def test_detector_has_a_pyramid(name, uninitialised):
    model = build(read_config(f"{name}_coco.py")).eval()
    with torch.no_grad():
        pyramid = model.extract_feat(torch.zeros(1, 3, 128, 64))
    assert [tuple(level.shape[1:]) for level in pyramid] == [
        (256, 128 // stride, 64 // stride) for stride in (4, 8, 16, 32, 64)
    ]


@pytest.mark.parametrize("name", FULL)
def test_segmentor_predicts_at_a_quarter(name, uninitialised):
    model = build(read_config(f"{name}_ade20k.py")).eval()
    with torch.no_grad():
        features = model.extract_feat(torch.zeros(1, 3, 128, 64))
        assert model.decode_head(features).shape == (1, 150, 32, 16)
        assert model.auxiliary_head(features).shape == (1, 150, 8, 4)


@pytest.mark.parametrize("name", TWINS)
def test_twin_on_digits_trains(name, digit_scenes):
    torch.manual_seed(0)
    cfg = read_config(name)
    cfg.train_dataloader.dataset.data_root = f"{digit_scenes}/"
    cfg.train_dataloader.batch_size = 2
    with scope_of(cfg):
        batches = list(islice(Runner.build_dataloader(cfg.train_dataloader, seed=0), 2))
    model = build(cfg).train()
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper)
    for batch in batches:
        losses = model(**model.data_preprocessor(batch, training=True), mode="loss")
        loss, _ = model.parse_losses(losses)
        assert torch.isfinite(loss)
        optimizer.backward(loss)
        # A parameter without a gradient would stop distributed training.
        assert not [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
        optimizer.step()
        optimizer.zero_grad()
