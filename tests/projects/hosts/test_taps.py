"""Taps: gradients, checkpointing, autocast, compilation, copies and memory."""

import copy
import gc
import weakref

import pytest
import torch
from torch import nn

from smallvit.backbones import DHVT, CvT, TimmBackbone
from smallvit.hosts import Taps, view_host

ARCH = dict(embed_dims=16, num_layers=4, num_heads=2, feedforward_channels=32)
CVT = dict(
    embed_dims=(8, 16),
    depths=(1, 2),
    num_heads=(1, 2),
    mlp_ratios=(2, 2),
    kernel_sizes=(7, 3),
    strides=(4, 2),
    paddings=(2, 1),
)


def dhvt(**kwargs):
    torch.manual_seed(0)
    return DHVT(ARCH, num_heads=2, img_size=32, **kwargs)


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.randn(2, 3, 32, 48)


def guided_gradients(model, images, positions=(0, -1), where="output"):
    """Gradients of a loss on tapped maps and the output, as in locality guidance."""
    model.train()
    taps = Taps(model, positions, where)
    with taps:
        loss = model(images)[-1].square().mean()
        loss = loss + sum(m.square().mean() for m in taps.maps())
    loss.backward()
    taps.remove()
    return loss.detach(), {n: p.grad for n, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("where", ["input", "output"])
@pytest.mark.parametrize(
    "build",
    [
        lambda cp: dhvt(with_cp=cp),
        lambda cp: CvT(CVT, with_cp=cp),
        lambda cp: TimmBackbone("pvt_v2_b0", depths=(1, 1, 1, 1), with_cp=cp),
        lambda cp: TimmBackbone(
            "vit_tiny_patch16_224", img_size=(32, 48), depth=3, embed_dim=48, with_cp=cp
        ),
    ],
)
def test_gradients_are_the_same_with_checkpointing(build, where, images):
    plain, checkpointed = build(False), build(True)
    checkpointed.load_state_dict(plain.state_dict())
    loss, expected = guided_gradients(plain, images, where=where)
    other, actual = guided_gradients(checkpointed, images, where=where)
    torch.testing.assert_close(other, loss)
    assert set(actual) == set(expected)
    for name, gradient in expected.items():
        torch.testing.assert_close(actual[name], gradient, msg=name)


def test_input_of_a_block_is_the_output_of_the_one_before(images):
    model = dhvt()
    ins, outs = Taps(model, [1, 2, 3], "input"), Taps(model, [0, 1, 2])
    with ins, outs:
        model(images)
        for a, b in zip(ins.tokens(), outs.tokens(), strict=True):
            assert a is b


def test_autocast(images):
    model = dhvt()
    with torch.autocast("cpu", torch.bfloat16):
        loss, gradients = guided_gradients(model, images)
    assert torch.isfinite(loss)
    assert all(gradient.isfinite().all() for gradient in gradients.values())


def test_compiled_model_gives_the_same_maps(images):
    model = dhvt(with_sope=False, with_daff=False).eval()
    taps = Taps(model, [0, -1])

    def step(images):
        return taps.run(model, images)[1]

    expected = step(images)
    assert not taps.recording
    with torch.no_grad():
        actual = torch.compile(step, backend="eager", fullgraph=True)(images)
    for a, b in zip(actual, expected, strict=True):
        torch.testing.assert_close(a, b.detach())


def test_size_of_the_input_may_change(images):
    model = dhvt().eval()
    taps = Taps(model, [0])
    for size in ((32, 48), (48, 32), (16, 16)):
        with taps, torch.no_grad():
            model(torch.randn(1, 3, *size))
            assert taps.maps()[0].shape[2:] == (size[0] // 16, size[1] // 16)


def test_maps_are_only_kept_while_recording(images):
    model = dhvt()
    taps = Taps(model, [0])
    model(images)
    with pytest.raises(RuntimeError, match=r"blocks \[0\] did not run"):
        taps.maps()
    with taps:
        model(images)
        assert taps.maps()
    with pytest.raises(RuntimeError, match="with taps:"):
        taps.maps()


def test_running_gives_the_output_and_the_maps(images):
    model = dhvt().eval()
    taps = Taps(model, [0])
    with torch.no_grad():
        output, (feature,) = taps.run(model, images)
        torch.testing.assert_close(output, model(images))
    assert feature.shape[2:] == (2, 3)
    with pytest.raises(RuntimeError, match=r"blocks \[0\] did not run"):
        taps.run(lambda: None)
    assert not taps.recording


def test_an_error_in_the_step_releases_all_maps(images):
    model = dhvt()
    taps = Taps(model, [0])

    def step():
        with taps:
            model(images)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        step()
    assert not taps.recording
    with pytest.raises(RuntimeError):
        taps.maps()


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
def test_the_graph_dies_with_the_step(images, with_cp):
    model = dhvt(with_cp=with_cp)
    taps = Taps(model, [0, -1])
    mark = _Mark()
    alive = weakref.ref(mark)
    with taps:
        model(_Marked.apply(images.requires_grad_(), mark))
        sum(m.mean() for m in taps.maps()).backward()
        del mark
        assert alive() is not None
    assert alive() is None


def test_tensors_do_not_pile_up(images):
    model = dhvt()
    taps = Taps(model, [0, -1])

    def count_after(steps):
        for _ in range(steps):
            model.zero_grad()
            with taps:
                model(images)
                sum(m.mean() for m in taps.maps()).backward()
        gc.collect()
        return sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects())

    assert count_after(2) == count_after(20)


def test_copy_of_model_and_taps_stands_alone(images):
    model = nn.Module()
    model.backbone = dhvt().eval()
    model.taps = Taps(model.backbone, [0])
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.backbone.parameters():
            parameter.zero_()
        with twin.taps, model.taps:
            twin.backbone(images)
            assert not twin.taps.maps()[0].any()
            model.backbone(images)
            assert model.taps.maps()[0].any()
            assert not twin.taps.maps()[0].any()


def test_removed_taps_record_nothing(images):
    model = dhvt()
    taps = Taps(model, [0])
    taps.remove()
    with taps, torch.no_grad():
        model(images)
        with pytest.raises(RuntimeError):
            taps.maps()
    assert not any(module._forward_hooks for module in model.modules())


def test_taps_that_share_a_view_can_be_removed_separately(images):
    model = TimmBackbone("vit_tiny_patch16_224", img_size=(32, 48), depth=2, embed_dim=48)
    view = view_host(model)
    first, second = Taps(view, [0]), Taps(view, [1])
    first.remove()
    with second, torch.no_grad():
        model(images)
        assert second.maps()[0].shape == (2, 48, 2, 3)


def test_side_must_exist():
    with pytest.raises(ValueError, match=r"input.*output.*got 'between'"):
        Taps(dhvt(), [0], where="between")
