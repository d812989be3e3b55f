"""Grad-CAM, attention rollout, head tokens and predicted kernels."""

import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models import ImageClassifier, SwinTransformer, VisionTransformer
from torch import nn

from smallvit.analysis.attention_maps import (
    AttentionWeights,
    grad_cam,
    head_tokens,
    predicted_kernels,
    rollout,
    scaled,
)
from smallvit.backbones import DHVT, DWNet
from smallvit.errors import UserError

ARCH = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32)


@pytest.fixture
def images():
    torch.manual_seed(0)
    return torch.rand(2, 3, 32, 48)


def evaluated(model):
    model.eval()  # not returned by MMPretrain's backbones
    return model


def vit(**kwargs):
    torch.manual_seed(0)
    return evaluated(VisionTransformer(ARCH, img_size=(32, 48), patch_size=8, **kwargs))


@pytest.mark.parametrize("kind", ["plain", "mask", "bool", "causal", "scale"])
def test_weights_are_those_of_the_fused_kernel(kind):
    query, key, value = (torch.randn(2, 3, 5, 4) for _ in range(3))
    options = dict(
        plain={},
        mask=dict(attn_mask=torch.randn(5, 5)),
        bool=dict(attn_mask=torch.eye(5) + torch.rand(5, 5) > 0.5),
        causal=dict(is_causal=True),
        scale=dict(scale=0.3),
    )[kind]
    with AttentionWeights() as found:
        out = F.scaled_dot_product_attention(query, key, value, **options)
    (weights,) = found.weights
    torch.testing.assert_close(weights @ value, out)


def test_explicit_attention_is_supported():
    with AttentionWeights() as found:
        torch.randn(1, 2, 4, 4).softmax(dim=-1)
        F.softmax(torch.randn(1, 2, 4, 4), dim=-1)
        torch.randn(1, 2, 4, 3).softmax(dim=-1)
        torch.randn(4, 4).softmax(dim=-1)
    assert [tuple(weights.shape) for weights in found.weights] == [(1, 2, 4, 4)] * 2


@pytest.mark.parametrize("cls_token", [True, False])
def test_rollout_is_a_share_of_each_patch(images, cls_token):
    out_type = "cls_token" if cls_token else "avg_featmap"
    flow = rollout(vit(with_cls_token=cls_token, out_type=out_type), images)
    assert flow.shape == (2, 4, 6)
    assert (flow > 0).all()
    total = flow.sum((1, 2))
    # The class token keeps a share for itself; without one, the patches share everything.
    assert (total < 1).all() if cls_token else torch.allclose(total, torch.ones(2))
    assert not torch.equal(flow[0], flow[1])


def test_rollout_follows_attention_to_a_single_patch(images, monkeypatch):
    real = AttentionWeights.__torch_function__

    def on_patch(self, func, types, args=(), kwargs=None):
        result = real(self, func, types, args, kwargs)
        if func is F.scaled_dot_product_attention:
            self.weights[-1] = torch.zeros_like(self.weights[-1])
            self.weights[-1][..., 1 + 8] = 1.0
        return result

    monkeypatch.setattr(AttentionWeights, "__torch_function__", on_patch)
    flow = rollout(vit(), images)
    assert (flow.flatten(1).argmax(1) == 8).all()
    assert torch.allclose(flow[0, 1, 2], torch.tensor(1 - 0.5**3))


def test_windows_have_no_rollout(images):
    arch = dict(embed_dims=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 1, 1])
    swin = evaluated(SwinTransformer(arch, img_size=64, window_size=2))
    with pytest.raises(UserError, match=r"not defined for SwinTransformer: .*Use gradcam"):
        rollout(swin, torch.rand(1, 3, 64, 64))


def test_each_head_token_has_a_map(images):
    torch.manual_seed(0)
    backbone = evaluated(DHVT(dict(ARCH), img_size=(32, 48), patch_size=8))
    maps = head_tokens(backbone, images)
    assert maps.shape == (2, 2, 4, 6)
    assert not torch.equal(maps[:, 0], maps[:, 1])
    with pytest.raises(UserError, match="expected DHVT"):
        head_tokens(vit(), images)


@pytest.mark.parametrize("conv", ["dynamic", "inhomogeneous"])
def test_kernels_are_those_of_the_image(conv, images):
    torch.manual_seed(0)
    backbone = evaluated(DWNet("mini", conv=conv))
    found = predicted_kernels(backbone, images)
    assert all(
        kernels.shape[0] == 2 and kernels.shape[-1] == kernels.shape[-2]
        for kernels in found.values()
    )
    assert len(found) > 2
    first = next(iter(found.values()))
    assert not torch.equal(first[0], first[1])
    with pytest.raises(UserError, match="expected DWNet"):
        predicted_kernels(evaluated(DWNet("mini")), images)


def classifier(backbone, channels):
    head = dict(type="mmpretrain.LinearClsHead", num_classes=4, in_channels=channels)
    return ImageClassifier(backbone=backbone, head=head).eval()


def test_grad_cam_finds_the_relevant_region():
    """A convolution whose channels measure the brightness, and a head on their mean."""
    torch.manual_seed(0)
    backbone = dict(type="smallvit.DWNet", arch="mini")
    model = classifier(backbone, 256)
    images = torch.rand(2, 3, 64, 96)
    heat, labels = grad_cam(model, dict(inputs=images))
    assert heat.shape == (2, 2, 3)
    assert labels == model(images, mode="tensor").argmax(1).tolist()
    assert heat.amin() >= 0
    assert heat.amax() <= 1
    _, chosen = grad_cam(model, dict(inputs=images), label=3)
    assert chosen == [3, 3]
    with pytest.raises(UserError, match="a class from 0 to 3, got 9"):
        grad_cam(model, dict(inputs=images), label=9)


def test_grad_cam_is_gradient_times_map(images):
    model = classifier(
        dict(type="VisionTransformer", arch=dict(ARCH), img_size=(32, 48), patch_size=8), 16
    )
    kept = []
    model.backbone.layers[1].register_forward_pre_hook(
        lambda module, args: (args[0].retain_grad(), kept.append(args[0]))[1]
    )
    heat, labels = grad_cam(model, dict(inputs=images), block=1)
    kept.clear()
    scores = model(images, mode="tensor")
    scores.gather(1, torch.tensor(labels)[:, None]).sum().backward()
    patches, gradients = (each[:, 1:].unflatten(1, (4, 6)) for each in (kept[0], kept[0].grad))
    wanted = (gradients.mean((1, 2), keepdim=True) * patches).sum(-1).clamp(min=0)
    torch.testing.assert_close(heat, scaled(wanted.detach()))


def test_networks_without_blocks_or_score_are_rejected(images):
    model = nn.Module()
    model.backbone = nn.Conv2d(3, 3, 1)
    with pytest.raises(UserError, match="Grad-CAM requires the blocks"):
        grad_cam(model, dict(inputs=images))
    model.roi_head = nn.Identity()
    with pytest.raises(UserError, match="supports classifiers and segmentors"):
        grad_cam(model, dict(inputs=images))
