"""Cached attention masks of shifted windows: equal to those of the library."""

import copy
import pickle
from collections import Counter

import pytest
import torch
from mmpretrain.models import SwinTransformer
from torch.overrides import TorchFunctionMode

from smallvit.layers.attention_form import use_faster_attention
from smallvit.layers.window_masks import MOST_KEPT, MaskCache

ARCH = dict(embed_dims=8, depths=[2, 2], num_heads=[1, 2])


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    options = dict(window_size=4, out_indices=(0, 1), img_size=64, pad_small_map=True)
    net = SwinTransformer(ARCH, **options)
    net.eval()  # does not return the masks
    return net


class Masks(TorchFunctionMode):
    """Count calls of an operator that is only used to create masks."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        self.counts[getattr(function, "__name__", "")] += 1
        return function(*args, **(kwargs or {}))


def filled(net, images):
    with Masks() as masks:
        net(images)
    return masks.counts["masked_fill"]


@pytest.mark.parametrize("size", [(64, 64), (48, 80)])
def test_outputs_and_gradients_are_equal_to_the_bit(network, size):
    images = torch.randn(2, 3, *size)
    changed = copy.deepcopy(network)
    use_faster_attention(changed)
    with torch.inference_mode():
        changed(images)  # a mask created here is used in the training step below
    for net in (network, changed):
        net.zero_grad()
    outputs = [net(images) for net in (network, changed)]
    for one, other in zip(*outputs, strict=True):
        assert torch.equal(one, other)
    for output in outputs:
        output[-1].square().sum().backward()
    for one, other in zip(network.parameters(), changed.parameters(), strict=True):
        assert (one.grad is None) == (other.grad is None)
        assert one.grad is None or torch.equal(one.grad, other.grad)


@torch.no_grad()
def test_masks_are_made_once_for_a_size(network):
    net = copy.deepcopy(network)
    every_time = filled(net, torch.randn(1, 3, 64, 64))
    use_faster_attention(net)
    use_faster_attention(net)
    counts = [filled(net, torch.randn(1, 3, 64, side)) for side in (64, 64, 32, 64, 32)]
    assert every_time > 0
    assert counts == [every_time, 0, every_time, 0, 0]
    assert filled(copy.deepcopy(net), torch.randn(1, 3, 64, 64)) == every_time
    assert len(pickle.loads(pickle.dumps(net)).stages[0].blocks[1].attn.get_attn_mask.kept) == 0


def test_the_cache_is_limited():
    masks = MaskCache(lambda shape, *rest, device: torch.zeros(shape))
    for side in range(1, 100):
        assert masks((side, 1), 4, 2).shape == (side, 1)
    assert len(masks.kept) == MOST_KEPT


def test_a_captured_graph_makes_its_own(network):
    net = copy.deepcopy(network)
    use_faster_attention(net)
    captured = torch.jit.trace(net, torch.randn(1, 3, 64, 64), check_trace=False)
    assert "masked_fill" in str(captured.inlined_graph)
