"""Host views: unsupported backbones, block numbering, and adapters for user classes."""

import ast
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from smallvit import hosts
from smallvit.backbones import DHVT
from smallvit.hosts import (
    ArgumentGrid,
    HostBlock,
    HostError,
    HostView,
    Taps,
    WatchedGrid,
    add_map,
    config_types,
    extra_tokens,
    from_map,
    is_host,
    register_host,
    supported_hosts,
    to_map,
    view_host,
)

ARCH = dict(embed_dims=8, num_layers=12, num_heads=2, feedforward_channels=8)


class Mixer(nn.Module):
    """A user's backbone with tokens in column-major order, so that its grid is transposed."""

    def __init__(self, dims=4, depth=2):
        super().__init__()
        self.embed = nn.Conv2d(3, dims, 8, 8)
        self.blocks = nn.ModuleList(nn.Linear(dims, dims) for _ in range(depth))

    def forward(self, x):
        tokens = self.embed(x).mT.flatten(2).transpose(1, 2)
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


@pytest.fixture
def mixer():
    @register_host(Mixer, force=True)
    def adapter(host):
        grid = WatchedGrid(host.embed, lambda module, inputs, output: output.shape[:1:-1])
        return [HostBlock(block, host.embed.out_channels, grid) for block in host.blocks]

    return Mixer()


def test_user_teaches_a_class(mixer):
    with Taps(mixer, [0, 1]) as taps, torch.no_grad():
        tokens = mixer(torch.randn(2, 3, 16, 24))
        maps = taps.maps()
    assert [tuple(m.shape) for m in maps] == [(2, 4, 3, 2)] * 2
    assert torch.equal(maps[-1].flatten(2).transpose(1, 2), tokens)


def test_subclass_of_a_host_is_one(mixer):
    assert is_host(type("Deeper", (Mixer,), {})())


def test_class_is_taught_once(mixer):
    with pytest.raises(KeyError, match=r"Mixer is already registered\. Pass force=True"):
        register_host(Mixer)(lambda host: [])


def test_anything_else_is_refused_with_what_is_supported():
    other = nn.Linear(2, 2)
    assert not is_host(other)
    with pytest.raises(HostError) as error:
        view_host(other)
    assert "Linear" in str(error.value)
    assert all(name in str(error.value) for name in config_types())
    assert {"mmpretrain.VisionTransformer", "smallvit.DWNet"} <= set(config_types())
    assert "register_host" in str(error.value)


def test_wrong_grid_is_an_error_not_a_wrong_map(mixer):
    register_host(Mixer, force=True)(
        lambda host: [
            HostBlock(block, 4, WatchedGrid(host.embed, lambda *_: (1, 2))) for block in host.blocks
        ]
    )
    with Taps(mixer, [0]), pytest.raises(HostError, match=r"1 x 2 tokens.*2 extra tokens, got 6"):
        mixer(torch.randn(1, 3, 16, 24))


def test_grid_that_was_not_seen_is_an_error():
    backbone = DHVT(ARCH, img_size=16)
    grid = WatchedGrid(backbone.patch_embed, lambda module, inputs, output: output[1])
    block = HostBlock(backbone.layers[0], 8, grid)
    with pytest.raises(RuntimeError, match="SOPE, which defines its grid"):
        block.read_grid(torch.zeros(1, 2, 8), (), {})


def test_grid_by_name():
    grid = ArgumentGrid("hw")
    assert grid.read((), {"hw": torch.tensor([3, 4])}) == (3, 4)
    block = HostBlock(nn.Identity(), 1, grid)
    assert block.read_grid(torch.zeros(1, 13, 1), (), {"hw": (3, 4)}) == (3, 4)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [(dict(layout="NBC"), "got 'NBC'"), (dict(), r"requires a grid\. Use ArgumentGrid")],
)
def test_blocks_report_missing_attributes(kwargs, message):
    with pytest.raises(HostError, match=message):
        HostBlock(nn.Identity(), 1, **kwargs)


@pytest.mark.parametrize("stages", [(), (1,), (0, 1, 0)])
def test_stages_ascend_from_zero(stages):
    blocks = [HostBlock(nn.Identity(), 1, layout="BCHW", stage=stage) for stage in stages]
    with pytest.raises(HostError, match="stages in ascending order from 0"):
        HostView(nn.Identity(), blocks)


@pytest.fixture(scope="module")
def view():
    return view_host(DHVT(ARCH, img_size=16))


@pytest.mark.parametrize(
    ("position", "index"), [(0, 0), (-1, 11), (0.0, 0), (0.5, 6), (1.0, 11), (7, 7)]
)
def test_blocks_by_number_and_by_depth(view, position, index):
    assert view.index(position) == index


@pytest.mark.parametrize("position", [12, -13, 1.5, "0", None])
def test_missing_blocks_are_rejected(view, position):
    with pytest.raises(ValueError, match=r"has 12 blocks: .* 0 to 11"):
        view.index(position)


@given(
    st.sampled_from(["BNC", "BHWC", "BCHW"]),
    st.tuples(*[st.integers(1, 5)] * 4),
    st.integers(0, 3),
)
def test_tokens_and_maps_are_two_views(layout, shape, extra):
    B, C, H, W = shape
    feature = torch.randn(shape)
    if layout == "BNC":
        tokens = torch.cat((torch.randn(B, extra, C), feature.flatten(2).mT), dim=1)
    else:
        tokens = feature.permute(0, 2, 3, 1) if layout == "BHWC" else feature
    seen = to_map(tokens, layout, (H, W))
    assert torch.equal(seen, feature)
    assert seen.untyped_storage().data_ptr() == tokens.untyped_storage().data_ptr()
    front = extra_tokens(tokens, layout, (H, W))
    assert torch.equal(from_map(seen, layout, front), tokens)
    assert torch.equal(to_map(add_map(tokens, feature, layout), layout, (H, W)), 2 * feature)


def test_hosts_import_no_foreign_models():
    trees = [
        ast.parse(path.read_text("utf-8")) for path in Path(hosts.__file__).parent.glob("*.py")
    ]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    imported = {node.module for node in nodes if isinstance(node, ast.ImportFrom)}
    imported |= {a.name for node in nodes if isinstance(node, ast.Import) for a in node.names}
    assert imported
    assert not [n for n in imported if n.split(".")[0] in ("mmdet", "mmseg", "mmpretrain", "timm")]


def test_example_in_the_readme_teaches_a_class():
    text = Path(hosts.__file__).with_name("README.md").read_text("utf-8")
    example = next(code for code in text.split("```python\n") if "@register_host" in code)

    class MyNet(nn.Module):
        def __init__(self):
            super().__init__()
            self.width = 4
            self.patch_embed = nn.Conv2d(3, 4, 8, 8)
            self.blocks = nn.ModuleList(nn.Linear(4, 4) for _ in range(2))

        def forward(self, x):
            x = self.patch_embed(x).flatten(2).transpose(1, 2)
            for block in self.blocks:
                x = block(x)
            return x

    code = example.split("```")[0]
    assert len(code.splitlines()) <= 10
    exec(code, {"MyNet": MyNet})
    net = MyNet()
    with Taps(net, [-1]) as taps, torch.no_grad():
        tokens = net(torch.randn(1, 3, 16, 24))
        assert torch.equal(taps.maps()[0].flatten(2).mT, tokens)
        assert taps.maps()[0].shape[2:] == (2, 3)


def test_readme_names_every_library_class():
    text = Path(hosts.__file__).with_name("README.md").read_text("utf-8")
    bases = ("PlainViT", "StagedBackbone")
    # Plugins and tests register classes of their own.
    documented = ("mmdet.", "mmpretrain.", "mmseg.", "timm.", "smallvit.backbones.")
    known = [full.rsplit(".", 1)[-1] for full in supported_hosts() if full.startswith(documented)]
    assert [name for name in known if name not in text and name not in bases] == []
