"""DW shortcuts: equations of every form, parameter names, checkpointing, copies, memory, errors."""

import copy
import gc
import pickle
import weakref

import pytest
import timm
import torch
import torch.nn.functional as F
from torch import nn

from host_zoo import HOSTS
from smallvit.backbones import DHVT, CaiT
from smallvit.hosts import HostError, Taps, view_host
from smallvit.plugins.dw_shortcut import DepthwiseShortcut, attach_dw_shortcuts
from smallvit.plugins.dw_shortcut.attach import group_blocks
from smallvit.registry import MODELS

ARCH = dict(embed_dims=8, num_layers=6, num_heads=2, feedforward_channels=16)
SIZE = (32, 48)


def plain(**kwargs):
    """A ViT without position embedding, dropout or convolutions of its own."""
    torch.manual_seed(0)
    return DHVT(
        ARCH,
        num_heads=2,
        img_size=32,
        with_sope=False,
        with_daff=False,
        with_head_tokens=False,
        out_type="raw",
        **kwargs,
    )


def perturb(module):
    """Change parameters that are initialized with ones or zeros, which could hide errors."""
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            noise = 0.3 * torch.randn_like(value)
            value += noise.abs() if name.endswith("running_var") else noise


def with_shortcuts(host=None, **options):
    host = attach_dw_shortcuts(host or plain(), **options)
    torch.manual_seed(2)
    perturb(host.dw_shortcuts)
    return host


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, *SIZE)


def reference(host, images, runs):
    """Compute the tokens after all blocks step by step, with explicit shortcuts."""
    x, hw = host.embed(images)
    sources = []
    for i, layer in enumerate(host.layers):
        sources.append(x)
        x = layer.forward(x, hw)  # without its hooks
        for number, run in enumerate(runs):
            if run[-1] == i:
                x = x + written_out(host.dw_shortcuts[0][number], sources[run[0]], hw)
    return host.finish(x)


def written_out(shortcut, tokens, hw):
    patches = F.gelu(tokens[:, 1:])
    feature = patches.transpose(1, 2).reshape(len(tokens), -1, *hw)
    total = torch.zeros_like(tokens)
    for branch in shortcut.branches:
        norm, conv = branch.norm, branch.conv
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - norm.running_mean * scale
        normed = feature * scale[:, None, None] + shift[:, None, None]
        out = F.conv2d(normed, conv.weight, conv.bias, padding="same", groups=len(scale))
        total[:, 1:] += out.flatten(2).transpose(1, 2)
    return total


FORMS = [
    (dict(), [(0,), (1,), (2,), (3,), (4,), (5,)]),
    (dict(kernel_sizes=(3, 5)), [(0,), (1,), (2,), (3,), (4,), (5,)]),
    (dict(bypass=2), [(0, 1), (2, 3), (4, 5)]),
    (dict(bypass=3, kernel_sizes=5), [(0, 1, 2), (3, 4, 5)]),
    (dict(bypass=4), [(0, 1, 2, 3), (4, 5)]),
    (dict(with_last=False), [(0,), (1,), (2,), (3,), (4,)]),
    (dict(blocks=range(2, 4)), [(2,), (3,)]),
    (dict(blocks=[0, 1, 2, 4, -1], bypass=2), [(0, 1), (2,), (4, 5)]),
]


@pytest.mark.parametrize(("options", "runs"), FORMS)
def test_every_form_follows_its_equations(options, runs, images):
    host = with_shortcuts(**options)
    host.train(False)
    with torch.no_grad():
        actual = host(images)[0]
        expected = reference(host, images, runs)
    torch.testing.assert_close(actual, expected)
    assert [len(stage) for stage in host.dw_shortcuts] == [len(runs)]


def test_without_kernels_it_is_the_identity(images):
    """The input patches of a block are added to its output; the class token is not."""
    host = attach_dw_shortcuts(plain(), kernel_sizes=()).eval()
    assert not list(host.dw_shortcuts.parameters())
    with torch.no_grad():
        x, hw = host.embed(images)
        for layer in host.layers:
            added = x.clone()
            added[:, 0] = 0
            x = layer.forward(x, hw) + added
        torch.testing.assert_close(host(images)[0], host.finish(x))


@pytest.mark.parametrize(
    ("options", "runs"),
    [
        (dict(), [(0,), (1,), (2,), (3,), (4,), (5,), (6,), (7,)]),
        (dict(bypass=2), [(0, 1), (2,), (3, 4), (5, 6), (7,)]),
        (dict(bypass=9, stages=[2, 0]), [(0, 1), (3, 4, 5, 6)]),
        (dict(stages=[-1], with_last=True), [(7,)]),
        (dict(blocks=[1, 2, 3], bypass=3), [(1,), (2,), (3,)]),
    ],
)
def test_runs_end_with_their_stage(options, runs):
    host = timm.create_model(
        "swin_tiny_patch4_window7_224",
        img_size=64,
        depths=(2, 1, 4, 1),
        num_heads=(1, 2, 4, 8),
        embed_dim=8,
        window_size=2,
    )
    defaults = dict(bypass=1, blocks=None, stages=None, with_last=True)
    assert group_blocks(view_host(host), **(defaults | options)) == runs


@pytest.mark.parametrize("name", HOSTS)
def test_attaches_to_every_host(name):
    """Names do not change, plain weights load, and only patches receive the shortcut."""
    host = HOSTS[name]
    torch.manual_seed(0)
    bare, wide = host.build(), attach_dw_shortcuts(host.build(), bypass=2)
    state = bare.state_dict()
    assert [key for key in wide.state_dict() if not key.startswith("dw_shortcuts.")] == list(state)
    report = wide.load_state_dict(state, strict=False)
    assert not report.unexpected_keys
    assert all(key.startswith("dw_shortcuts.") for key in report.missing_keys)
    bare.train(False)
    wide.train(False)
    for parameter in wide.dw_shortcuts.parameters():
        nn.init.zeros_(parameter)
    images = torch.randn(2, 3, *host.size)
    compare(host, bare, wide, images, added=0)
    nn.init.ones_(wide.dw_shortcuts[0][0].branches[0].conv.bias)
    compare(host, bare, wide, images, added=1)


def compare(host, bare, wide, images, added):
    behind = 1 if host.stages[0] > 1 else 0
    block = view_host(bare).blocks[behind]
    sides = [Taps(bare, [behind]), Taps(wide, [behind])]
    with torch.no_grad(), sides[0], sides[1]:
        host.maps(bare, images)
        host.maps(wide, images)
        expected, actual = (taps.maps()[0] for taps in sides)
        torch.testing.assert_close(actual, expected + added)
        hw = tuple(actual.shape[2:])
        extra, same = (block.extra_tokens(taps.tokens()[0], hw) for taps in sides)
        assert extra is None or torch.equal(extra, same)
    for taps in sides:
        taps.remove()


def step(host, images):
    """Return loss, gradients and statistics of one training step."""
    host.train()
    loss = host(images)[-1].square().mean()
    loss.backward()
    gradients = {n: p.grad for n, p in host.named_parameters() if p.grad is not None}
    return loss.detach(), gradients, dict(host.named_buffers())


def swin(with_cp):
    from mmdet.models.backbones import SwinTransformer

    torch.manual_seed(0)
    return SwinTransformer(
        embed_dims=8,
        depths=[2, 3],
        num_heads=[1, 2],
        window_size=4,
        strides=(4, 2),
        out_indices=(0, 1),
        with_cp=with_cp,
        drop_path_rate=0.0,
    )


@pytest.mark.parametrize("bypass", [1, 2, 4])
@pytest.mark.parametrize("build", [lambda cp: plain(with_cp=cp), swin])
def test_checkpointing_changes_nothing(build, bypass, images):
    """Neither gradients nor batch norms, which must not count a batch twice."""
    results = [step(with_shortcuts(build(cp), bypass=bypass), images) for cp in (False, True)]
    (loss, gradients, statistics), (other, recomputed, same) = results
    torch.testing.assert_close(other, loss)
    assert set(recomputed) == set(gradients)
    for name, gradient in gradients.items():
        torch.testing.assert_close(recomputed[name], gradient, msg=name)
    for name, value in statistics.items():
        assert torch.equal(same[name], value), name


@pytest.mark.parametrize("bypass", [2, pytest.param(1, marks=pytest.mark.exhaustive)])
def test_autocast_and_compilation(bypass, images):
    host = with_shortcuts(bypass=bypass)
    state = copy.deepcopy(host.state_dict())
    loss, gradients, _ = step(host, images)
    gradients = {name: gradient.clone() for name, gradient in gradients.items()}
    host.zero_grad()
    host.load_state_dict(state)
    compiled = torch.compile(host, backend="eager", fullgraph=True)
    other, same, _ = step(compiled, images)
    torch.testing.assert_close(other, loss)
    for name, gradient in gradients.items():
        torch.testing.assert_close(same[f"_orig_mod.{name}"], gradient, msg=name)
    with torch.autocast("cpu", torch.bfloat16):
        low, _, _ = step(host, images)
    torch.testing.assert_close(low, loss, rtol=0.05, atol=0)


@pytest.mark.parametrize("bypass", [1, 3])
@pytest.mark.parametrize("clone", [copy.deepcopy, lambda host: pickle.loads(pickle.dumps(host))])
def test_copy_uses_its_own_shortcuts(clone, bypass, images):
    host = with_shortcuts(bypass=bypass)
    step(host, images)
    host.zero_grad()
    twin = clone(host)
    host.train(False)
    twin.train(False)
    with torch.no_grad():
        before = host(images)[0]
        assert torch.equal(twin(images)[0], before)
        for parameter in twin.dw_shortcuts.parameters():
            parameter.zero_()
        assert torch.equal(host(images)[0], before)
        bare = plain()
        bare.load_state_dict(twin.state_dict(), strict=False)
        bare.train(False)
        torch.testing.assert_close(twin(images)[0], bare(images)[0])


class _Mark:
    """A weakly referenceable object that lives as long as the graph."""


class _Marked(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, mark):
        ctx.mark = mark
        return x.clone()

    @staticmethod
    def backward(ctx, grad):
        return grad, None


@pytest.mark.parametrize("with_cp", [False, True])
@pytest.mark.parametrize("bypass", [1, 2])
def test_the_graph_dies_with_the_step(bypass, with_cp, images):
    host = with_shortcuts(plain(with_cp=with_cp), bypass=bypass)
    mark = _Mark()
    alive = weakref.ref(mark)
    loss = host(_Marked.apply(images.requires_grad_(), mark))[0].mean()
    del mark
    assert alive() is not None
    loss.backward()
    del loss
    assert alive() is None


def test_tensors_do_not_pile_up(images):
    host = with_shortcuts(bypass=2)

    def count_after(steps):
        for _ in range(steps):
            host.zero_grad()
            step(host, images)
        gc.collect()
        return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())

    assert count_after(2) == count_after(20)


def test_forward_without_gradients_keeps_nothing(images):
    host = with_shortcuts(bypass=2)
    seen = []
    for layer in host.layers:
        layer.register_forward_pre_hook(lambda module, args: seen.append(weakref.ref(args[0])))
    with torch.no_grad():
        host(images)
    assert len(seen) == len(host.layers)
    assert [tensor() for tensor in seen] == [None] * len(seen)


def test_class_trunk_of_cait_has_no_shortcut():
    host = attach_dw_shortcuts(CaiT(dict(ARCH, num_cls_layers=2), img_size=32))
    assert len(host.dw_shortcuts[0]) == ARCH["num_layers"]


def test_every_component_can_be_disabled():
    shortcut = DepthwiseShortcut(4, act_cfg=None, norm_cfg=None)
    x = torch.randn(1, 4, 5, 6)
    assert torch.equal(shortcut(x), shortcut.branches[0].conv(x))
    names = set(DepthwiseShortcut(4, norm_cfg=dict(type="SyncBN")).state_dict())
    assert "branches.0.norm.running_mean" in names


def test_config_keeps_the_arguments_of_the_host():
    kwargs = dict(arch=ARCH, num_heads=2, img_size=32)
    host = MODELS.build(
        dict(
            type="smallvit.DWConvShortcut",
            host="smallvit.DHVT",
            shortcut=dict(kernel_sizes=[3, 5], with_last=False),
            **kwargs,
        )
    )
    assert isinstance(host, DHVT)
    assert len(host.dw_shortcuts[0]) == 5
    default = MODELS.build(dict(type="smallvit.DWConvShortcut", host="smallvit.DHVT", **kwargs))
    assert len(default.dw_shortcuts[0]) == 6


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (dict(kernel_sizes=4), "expected kernel_sizes to be odd, .* got 4"),
        (dict(bypass=0), "bypass >= 1, got 0"),
        (dict(blocks=[6]), "from 0 to 5, .* got 6"),
        (dict(blocks=[5], with_last=False), "select none of the 6 blocks of DHVT"),
        (dict(stages=[1]), r"stages from 0 to 0, .* got \[1\]"),
    ],
)
def test_incompatible_options_are_rejected(options, message):
    with pytest.raises(ValueError, match=message):
        attach_dw_shortcuts(plain(), **options)


def test_one_set_of_shortcuts_for_a_host():
    with pytest.raises(ValueError, match="DHVT already has shortcuts"):
        attach_dw_shortcuts(attach_dw_shortcuts(plain()))


def test_host_is_named_not_nested():
    with pytest.raises(TypeError, match="the registered type of a backbone"):
        MODELS.build(dict(type="smallvit.DWConvShortcut", host=dict(type="smallvit.DHVT")))


@pytest.mark.parametrize(
    ("config", "message"),
    [(dict(), "requires a host"), (dict(host="smallvit.DWConvShortcut"), "nests shortcuts")],
)
def test_host_is_missing_or_a_shortcut(config, message):
    with pytest.raises(TypeError, match=message):
        MODELS.build(dict(type="smallvit.DWConvShortcut", **config))


@pytest.mark.parametrize("name", ["smallvit.DWNet", "mmdet.SwinTransformer"])
def test_shortcuts_of_frozen_blocks_are_frozen(name):
    """Also if the host freezes its stages in ``train`` and not in the constructor."""
    arch = dict(embed_dims=16, depths=(1, 1, 1), group_channels=(4, 4, 4))
    options = (
        dict(arch=arch)
        if name.startswith("smallvit")
        else dict(
            embed_dims=16, depths=[1, 1, 1], num_heads=[1, 1, 1], strides=(4, 2, 2), window_size=2
        )
    )
    config = dict(type="smallvit.DWConvShortcut", host=name, out_indices=(2,), **options)
    frozen = MODELS.build(dict(config, frozen_stages=1))
    frozen.train()  # mmdet's returns None
    blocks = view_host(frozen).blocks
    trained = [any(p.requires_grad for p in block.module.parameters()) for block in blocks]
    assert False in trained
    assert True in trained
    shortcuts = [shortcut for stage in frozen.dw_shortcuts for shortcut in stage]
    for shortcut, expected in zip(shortcuts, trained, strict=True):
        assert {p.requires_grad for p in shortcut.parameters()} == {expected}
        assert {module.training for module in shortcut.modules()} == {expected}
    free = MODELS.build(config)
    free.train()
    assert all(p.requires_grad for p in free.dw_shortcuts.parameters())


def test_unsupported_backbones_are_rejected():
    with pytest.raises(HostError, match="LeNet5 is not supported as a host"):
        MODELS.build(dict(type="smallvit.DWConvShortcut", host="mmpretrain.LeNet5"))


def test_last_block_alone_says_what_is_missing(images):
    host = with_shortcuts(bypass=2)
    tokens, hw = host.embed(images)
    with pytest.raises(RuntimeError, match="ran without the block where its shortcut starts"):
        host.layers[1](tokens, hw)
