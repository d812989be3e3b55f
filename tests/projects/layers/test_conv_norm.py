"""Folding of a batch norm into the preceding convolution."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from smallvit.layers import conv_norm as module
from smallvit.layers.conv_norm import conv_norm, fold_norm, folding_pays, pointwise_norm


def layers(bias=True, affine=True, kernel_size=3, groups=1):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, kernel_size, padding=kernel_size // 2, bias=bias, groups=groups)
    norm = nn.BatchNorm2d(8, affine=affine)
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2)
    if affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    return conv.double(), norm.double().eval()


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_folded_convolution_equals_convolution_and_norm(bias, affine):
    conv, norm = layers(bias, affine)
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    weight, offset = fold_norm(conv, norm)
    torch.testing.assert_close(F.conv2d(x, weight, offset, padding=1), norm(conv(x)))


@pytest.mark.parametrize("apply", [conv_norm, pointwise_norm])
@pytest.mark.parametrize("pays", [True, False])
def test_gradients_are_those_of_the_two_layers(apply, pays, monkeypatch):
    monkeypatch.setattr(module, "folding_pays", lambda x, conv: pays)
    conv, norm = layers(kernel_size=1)
    wanted = [conv.weight, conv.bias, norm.weight, norm.bias]
    x = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    ours = torch.autograd.grad(apply(x, conv, norm).square().sum(), wanted)
    theirs = torch.autograd.grad(norm(conv(x)).square().sum(), wanted)
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("apply", [conv_norm, pointwise_norm])
def test_training_counts_its_batch(apply):
    conv, norm = layers(kernel_size=1)
    norm.train()
    before = norm.running_mean.clone()
    apply(torch.randn(2, 4, 3, 3, dtype=torch.float64), conv, norm)
    assert not torch.equal(norm.running_mean, before)


def test_a_cpu_folds_if_the_weight_is_smaller_than_the_map():
    conv, _ = layers()
    assert folding_pays(torch.empty(1, 4, 2, 2), conv)
    assert not folding_pays(torch.empty(1, 4, 1, 3), conv)


def test_a_gpu_only_folds_large_maps():
    conv, _ = layers()

    def on_gpu(batch):
        return SimpleNamespace(shape=(batch, 4, 64, 64), is_cuda=True)

    assert not folding_pays(on_gpu(1), conv)
    assert folding_pays(on_gpu(128), conv)


def test_a_graph_of_free_sizes_folds_for_all_of_them():
    conv, norm = layers()
    batch = torch.export.Dim("batch")

    class Folded(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = conv, norm

        def forward(self, x):
            return conv_norm(x, self.conv, self.norm)

    exported = torch.export.export(
        Folded(), (torch.randn(2, 4, 5, 5, dtype=torch.float64),), dynamic_shapes=({0: batch},)
    ).module()
    x = torch.randn(3, 4, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(exported(x), norm(conv(x)))
