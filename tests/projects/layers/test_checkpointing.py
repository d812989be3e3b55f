"""Gradient checkpointing: values, gradients and running statistics do not change."""

import copy

import pytest
import torch

from smallvit.registry import MODELS

BACKBONES = {
    "dhvt": dict(
        type="DHVT",
        arch=dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32),
        img_size=16,
        patch_size=4,
    ),
    "dwnet": dict(
        type="DWNet", arch=dict(embed_dims=8, depths=[1, 1, 1, 1], group_channels=[4, 4, 4, 4])
    ),
    "cvt": dict(
        type="CvT",
        arch=dict(
            embed_dims=(8, 16),
            depths=(1, 2),
            num_heads=(1, 2),
            mlp_ratios=(2, 2),
            kernel_sizes=(7, 3),
            strides=(4, 2),
            paddings=(2, 1),
        ),
    ),
    "resnet": dict(type="CifarResNet", depth=8, base_channels=4),
}


def step(net, images):
    outputs = net(images)
    sum(out.float().square().mean() for out in outputs).backward()
    return outputs


@pytest.mark.parametrize("name", ["dhvt", "dwnet", "cvt", "resnet"])
def test_with_cp_is_plain_training(name):
    torch.manual_seed(0)
    plain = MODELS.build(BACKBONES[name]).train()
    saved = MODELS.build(dict(BACKBONES[name], with_cp=True)).train()
    saved.load_state_dict(copy.deepcopy(plain.state_dict()))
    images = torch.rand(2, 3, 16, 16) if name != "dwnet" else torch.rand(2, 3, 32, 32)
    for net in (plain, saved):
        step(net, images.clone().requires_grad_())
    for (key, one), other in zip(
        plain.state_dict().items(), saved.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), key
    for one, other in zip(plain.parameters(), saved.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        if one.grad is not None:
            torch.testing.assert_close(one.grad, other.grad)
