"""Dry-run discovery of hosts: classes without adapter are viewed correctly or rejected."""

import copy
import gc
import weakref

import pytest
import torch
from torch import nn

from smallvit.backbones import CifarResNet
from smallvit.hosts import HostError, Taps, discovery, is_host, register_host, view_host
from smallvit.hosts.probe import record
from smallvit.plugins.dw_shortcut import attach_dw_shortcuts

SIZE = (48, 80)


class Block(nn.Module):
    """Two layers; ``form`` determines inputs and outputs."""

    def __init__(self, dims=8, form="plain"):
        super().__init__()
        self.form = form
        self.fc1, self.fc2 = nn.Linear(dims, 2 * dims), nn.Linear(2 * dims, dims)

    def forward(self, x, *sizes, hw=None, tokens=None):
        x = tokens if x is None else x
        x = x + self.fc2(self.fc1(x).relu())
        return (x, "more") if self.form == "tuple" else x


class Tokens(nn.Module):
    """A ViT of any form without attention; ``order`` is the order of its patches."""

    def __init__(self, form="plain", extra=0, order=None):
        super().__init__()
        self.form, self.order = form, order
        self.embed = nn.Conv2d(3, 8, 8, 8)
        self.extra = nn.Parameter(torch.randn(1, extra, 8))
        self.stages = nn.ModuleList(
            nn.ModuleList(Block(form=form) for _ in range(2)) for _ in range(2)
        )

    def cut(self, x):
        feature = self.embed(x)
        if self.form == "BHWC":
            return feature.permute(0, 2, 3, 1), feature.shape[2:]
        tokens = feature.flatten(2).mT
        if self.order is not None:
            tokens = self.order(tokens)
        return torch.cat((self.extra.expand(len(x), -1, -1), tokens), 1), feature.shape[2:]

    def forward(self, x):
        x, (rows, columns) = self.cut(x)
        for block in [block for stage in self.stages for block in stage]:
            if self.form == "sizes":
                x = block(x, rows, columns)
            elif self.form == "pair":
                x = block(x, hw=(rows, columns))
            elif self.form == "keyword":
                x = block(None, tokens=x)
            elif self.form == "tuple":
                x, _ = block(x)
            else:
                x = block(x)
        return (x,)


class Streams(nn.Module):
    """Two streams of maps with different sizes, called alternately."""

    def __init__(self):
        super().__init__()
        self.fine, self.coarse = (nn.Conv2d(3, n, s, s) for n, s in ((8, 4), (16, 8)))
        self.stages = nn.ModuleList(
            nn.ModuleList([CifarResNetBlock(8), CifarResNetBlock(16)]) for _ in range(3)
        )

    def forward(self, x):
        fine, coarse = self.fine(x), self.coarse(x)
        for first, second in self.stages:
            fine, coarse = first(fine), second(coarse)
        return fine, coarse


class CifarResNetBlock(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.conv1, self.conv2 = (nn.Conv2d(channels, channels, 3, padding=1) for _ in "ab")

    def forward(self, x):
        return x + self.conv2(self.conv1(x).relu())


FORMS = {
    "plain": (lambda: Tokens(), 0),
    "class token": (lambda: Tokens(extra=1), 1),
    "registers": (lambda: Tokens(extra=5), 5),
    "height and width": (lambda: Tokens("sizes", extra=2), 2),
    "pair by name": (lambda: Tokens("pair"), 0),
    "tokens by name": (lambda: Tokens("keyword", extra=1), 1),
    "tuples": (lambda: Tokens("tuple", extra=1), 1),
    "maps with channels last": (lambda: Tokens("BHWC"), 0),
}


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, *SIZE)


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_tokens_is_found(form, images):
    build, extra = FORMS[form]
    torch.manual_seed(0)
    host = build().eval()
    assert len(view_host(host)) == 4
    with Taps(host, [0, -1]) as taps, torch.no_grad():
        last = host(images)[0]
        first, behind = taps.maps()
    assert first.shape == behind.shape == (2, 8, 6, 10)
    own = last.flatten(1, 2) if form == "maps with channels last" else last[:, extra:]
    assert torch.equal(behind.flatten(2).mT, own)


@pytest.mark.parametrize("bypass", [1, 2])
@pytest.mark.parametrize("form", FORMS)
def test_shortcuts_reach_every_form(form, bypass, images):
    build, extra = FORMS[form]
    torch.manual_seed(0)
    bare = build().eval()
    host = attach_dw_shortcuts(copy.deepcopy(bare), bypass=bypass)
    for parameter in host.dw_shortcuts.parameters():
        nn.init.zeros_(parameter)
    expected = bare(images)[0]
    torch.testing.assert_close(host.eval()(images)[0], expected)
    nn.init.ones_(host.dw_shortcuts[0][-1].branches[0].conv.bias)
    changed = (host(images)[0] - expected).abs()
    assert changed.amax() > 0.5
    assert not extra or not changed[:, :extra].any()
    host.train()(images)[0].square().sum().backward()
    assert all(p.grad is not None for p in host.dw_shortcuts.parameters())


def test_blocks_of_a_residual_network_are_found(images):
    host = CifarResNet(depth=20, out_indices=(0, 1, 2)).eval()
    view = view_host(host)
    assert [len(stage) for stage in view.stages] == [3, 2, 2]
    assert view.channels == (16, 16, 16, 32, 32, 64, 64)
    with Taps(host, [0, 2]) as taps, torch.no_grad():
        maps = host(images)
        assert torch.equal(taps.maps()[1], maps[0])


def test_a_host_may_be_viewed_without_gradients():
    with torch.no_grad():
        assert len(view_host(CifarResNet(depth=14))) == 4


def test_the_first_of_several_streams_is_used():
    assert view_host(Streams()).channels == (8, 8, 8)


@pytest.mark.parametrize("channels", [1, 4, 13])
def test_images_need_not_have_three_channels(channels):
    assert len(view_host(CifarResNet(depth=8, in_channels=channels))) == 1


def test_blocks_behind_an_arrangement_of_pixels_are_found():
    blocks = (CifarResNetBlock(12) for _ in range(2))
    assert len(view_host(nn.Sequential(nn.PixelUnshuffle(2), nn.Sequential(*blocks)))) == 2


def test_the_dry_run_leaves_no_trace():
    host = CifarResNet(depth=8).train()
    host.with_cp = True
    before = copy.deepcopy(host.state_dict())
    modes = [module.training for module in host.modules()]
    random = torch.get_rng_state()
    view_host(host)
    assert torch.equal(torch.get_rng_state(), random)
    assert [module.training for module in host.modules()] == modes
    assert host.with_cp is True
    assert all(p.grad is None for p in host.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in host.modules())
    assert all(torch.equal(value, before[key]) for key, value in host.state_dict().items())


class Twice(Tokens):
    def forward(self, x):
        x, _ = self.cut(x)
        for _ in range(2):
            for block in self.stages[0]:
                x = block(x)
        return x


class Deaf(Tokens):
    """The outputs of its blocks are discarded."""

    def forward(self, x):
        x, _ = self.cut(x)
        self.stages[0][0](x)
        return x


REFUSED = {
    "patches in another order": (lambda: Tokens(order=lambda x: x.flip(1)), "not in raster order"),
    "columns first": (
        lambda: Tokens(order=lambda x: x.unflatten(1, (8, 12)).transpose(1, 2).flatten(1, 2)),
        "not in raster order",
    ),
    "weights used twice": (Twice, "runs 2 times"),
    "output not used": (Deaf, "receives no gradient"),
    "no blocks": (lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU()), "no module with layers"),
    "no network for images": (lambda: nn.Linear(2, 2), "only a batch of"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_ambiguous_backbones_are_rejected_with_an_adapter_template(case):
    build, why = REFUSED[case]
    host = build()
    assert not is_host(host)
    with pytest.raises(HostError, match=why) as error:
        view_host(host)
    cls = type(host)
    assert f'register_host("{cls.__module__}.{cls.__qualname__}")' in str(error.value)
    assert "HostBlock(block, " in str(error.value)
    assert "mmpretrain.VisionTransformer" in str(error.value)


def test_the_adapter_template_works(images):
    class Flipped(Tokens):
        pass

    def flip(x):
        return x.flip(1)

    with pytest.raises(HostError) as error:
        view_host(Flipped(order=flip))
    lines = str(error.value).split("\n")
    name = next(line.split('"')[1] for line in lines if "register_host" in line)
    path = next(line.split('"')[-2] for line in lines if "get_submodule" in line)

    from smallvit.hosts import HostBlock, WatchedGrid

    @register_host(name)
    def blocks(net):
        grid = WatchedGrid(net.embed, lambda module, inputs, output: output.shape[2:])
        return [HostBlock(block, 8, grid) for block in net.get_submodule(path)]

    assert len(view_host(Flipped(order=flip))) == 2


def test_a_host_is_only_run_once(monkeypatch):
    runs = []
    monkeypatch.setattr(discovery, "record", lambda *args: runs.append(1) or record(*args))
    host = Tokens(extra=1).eval()
    first = view_host(host)
    attach_dw_shortcuts(host, kernel_sizes=(3, 5))
    number = len(runs)
    second = view_host(host)
    assert len(runs) == number
    assert [b.module for b in first.blocks] == [b.module for b in second.blocks]
    assert second.blocks[0].grid is second.blocks[1].grid is not first.blocks[0].grid
    host.stages[1] = nn.ModuleList([Block()])
    assert len(view_host(host)) == 3
    copied = copy.deepcopy(host)
    assert view_host(copied).blocks[0].module is copied.stages[0][0]


def test_the_cache_does_not_keep_hosts_alive():
    host = Tokens()
    view_host(host)
    alive = weakref.ref(host)
    del host
    gc.collect()
    assert alive() is None


class Reversible(Tokens):
    """In training, its blocks run without gradients, as in reversible networks."""

    def forward(self, x):
        x, _ = self.cut(x)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.training):
            for block in self.stages[0]:
                x = block(x)
        return x


def test_training_mode_is_tested_too():
    with pytest.raises(HostError, match="in training"):
        view_host(Reversible())


@pytest.mark.parametrize("make", [lambda: nn.LazyConv2d(8, 8, 8), lambda: nn.Conv2d(3, 8, 8, 8)])
def test_a_backbone_without_weights_is_refused(make):
    with torch.device("meta"):
        host = Tokens()
        host.embed = make()
    with pytest.raises(HostError, match=r"meta device|is uninitialized"):
        view_host(host)
