"""Plain transformers: token counts before the forward pass, and parts of the blocks."""

import copy
import pickle
from pathlib import Path

import pytest
import torch
from mmpretrain.models import DistilledVisionTransformer, VisionTransformer
from torch import nn

from smallvit import hosts
from smallvit.backbones import DHVT, PVT, CaiT, T2TViT
from smallvit.hosts import (
    BlockParts,
    HostError,
    PlainTokens,
    Taps,
    block_parts,
    plain_tokens,
    register_parts,
    register_plain,
    view_host,
)

ARCH = dict(embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32)
MMPRETRAIN = dict(
    embed_dims=16, num_layers=2, num_heads=2, feedforward_channels=32, deep_supervision=False
)
NETS = {
    "DHVT": lambda: DHVT(ARCH, patch_size=8, img_size=32),
    "T2TViT": lambda: T2TViT(ARCH, img_size=32),
    "CaiT": lambda: CaiT(dict(ARCH, num_cls_layers=1), img_size=32, patch_size=8),
    "ViT": lambda: VisionTransformer(MMPRETRAIN, img_size=32, patch_size=8),
    "DeiT": lambda: DistilledVisionTransformer(MMPRETRAIN, img_size=32, patch_size=8),
}


@pytest.fixture(params=NETS)
def net(request):
    net = NETS[request.param]()
    net.eval()  # not returned by MMPretrain's models
    return net


@pytest.mark.parametrize("size", [(32, 32), (40, 72)])
@torch.no_grad()
def test_token_counts_are_known_before_the_forward_pass(net, size):
    known = plain_tokens(net)
    assert tuple(known.grid) == known.grid_of((32, 32))
    with Taps(net, [0, -1]) as taps:
        net(torch.randn(1, 3, *size))
        for tokens, feature in zip(taps.tokens(), taps.maps(), strict=True):
            assert known.grid_of(size) == tuple(feature.shape[2:])
            assert tokens.shape[1] == feature[0, 0].numel() + known.num_extra


def test_copies_and_pickles_refer_to_their_own_host(net):
    known = plain_tokens(net)
    for _, tokens in (copy.deepcopy((net, known)), pickle.loads(pickle.dumps((net, known)))):
        assert tokens.host is not net
        assert tokens.grid_of((48, 32)) == known.grid_of((48, 32))
    together, tokens = copy.deepcopy((net, known))
    assert tokens.host is together


class Halved(nn.Module):
    """Halve the output of a module or function."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, *args, **kwargs):
        return self.inner(*args, **kwargs) / 2


@torch.no_grad()
@pytest.mark.parametrize("name", ["logits", "norm", "expand"])
def test_named_parts_are_used_in_the_forward_pass(net, name):
    """Changing the output of the named part changes the output of the block."""
    parts = block_parts(view_host(net).blocks[0].module)
    assert parts.num_heads == 2
    images = torch.randn(1, 3, 32, 32)
    with Taps(net, [0]) as taps:
        net(images)
        before = taps.tokens()[0].clone()
        if name == "logits":
            own = getattr(parts.attention, parts.logits)
            setattr(parts.attention, parts.logits, Halved(own))
        else:
            owner, place = getattr(parts, name)
            getattr(owner, place).weight.mul_(0.5)
        net(images)
        assert (taps.tokens()[0] - before).abs().max() > 1e-6


def test_other_backbones_are_rejected_by_name():
    arch = dict(PVT.arch_zoo["tiny"], depths=(1, 1, 1, 1), embed_dims=(8, 16, 40, 64))
    pyramid = PVT(arch, img_size=32)
    with pytest.raises(HostError, match=r"(?s)PVT is not a plain transformer.*register_plain"):
        plain_tokens(pyramid)
    with pytest.raises(HostError, match=r"(?s)PVTBlock is not a .*register_parts"):
        block_parts(view_host(pyramid).blocks[0].module)


def test_example_in_the_readme_teaches_a_plain_transformer():
    text = Path(hosts.__file__).with_name("README.md").read_text("utf-8")
    example = next(code for code in text.split("```python\n") if "@register_plain" in code)

    class MyNet(nn.Module):
        num_prefix_tokens = 1
        grid = (4, 4)
        patch_size = 8

    class MyBlock(nn.Module):
        pass

    names = dict(MyNet=MyNet, MyBlock=MyBlock)
    exec(example.split("```")[0], names)
    assert isinstance(plain_tokens(MyNet()), PlainTokens)
    assert plain_tokens(MyNet()).grid_of((32, 48)) == (4, 6)
    block = MyBlock()
    block.attn = block.mlp = nn.Identity()
    assert isinstance(block_parts(block), BlockParts)
    with pytest.raises(KeyError, match=r"already registered\. Pass force=True"):
        register_plain(MyNet)(lambda host: None)
    register_parts(MyBlock, force=True)(lambda block: None)
