"""Replacement of mmcv's compiled ops by torchvision."""

import importlib
import importlib.util
import pkgutil
import subprocess
import sys
import textwrap

import pytest
import torch
from mmengine.model.utils import mmcv_full_available

import smallvit
from smallvit.compat import mmcv_ext

ops = importlib.import_module("mmcv.ops")
bridged = pytest.mark.skipif(not mmcv_ext.is_bridged(), reason="compiled mmcv is installed")
gradcheck = torch.autograd.gradcheck


def test_look_ups_find_a_real_spec():
    spec = importlib.util.find_spec("mmcv._ext")
    assert spec is not None
    assert spec.loader is not None
    assert sys.modules["mmcv._ext"].__spec__.name == "mmcv._ext"
    assert pkgutil.find_loader("mmcv._ext") is not None
    assert mmcv_full_available()


def test_install_twice_adds_one_finder():
    smallvit.install()
    assert sum(isinstance(finder, mmcv_ext.ExtFinder) for finder in sys.meta_path) == 1


def test_a_compiled_extension_is_left_alone(tmp_path):
    package = tmp_path / "mmcv"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "_ext.py").write_text("compiled = True")
    code = "import smallvit, mmcv._ext as e; assert e.compiled; assert not hasattr(e, 'nms')"
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)


def test_the_import_of_smallvit_is_light():
    code = """
        import sys, smallvit, smallvit.registry
        heavy = {"torch", "mmcv", "mmdet", "mmseg", "mmpretrain"} & set(sys.modules)
        assert not heavy, heavy
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


@bridged
@pytest.mark.parametrize(
    ("op", "call"),
    [
        ("softnms", lambda: ops.soft_nms(torch.rand(3, 4), torch.rand(3), 0.5)),
        ("nms_rotated", lambda: ops.nms_rotated(torch.rand(3, 5), torch.rand(3), 0.5)),
        ("border_align_forward", lambda: ops.border_align(*_border_align_inputs())),
    ],
)
def test_unsupported_ops_are_named_with_the_way_out(op, call):
    with pytest.raises(
        NotImplementedError, match=rf"'{op}' requires the compiled mmcv.*Install mmcv"
    ):
        call()


def _border_align_inputs():
    return torch.rand(1, 4, 3, 3), torch.rand(1, 9, 4), 10


def test_the_environment_report_names_the_source_of_the_ops():
    from mmcv.utils import collect_env

    if mmcv_ext.is_bridged():
        assert "torchvision" in collect_env()["MMCV Compiler"]


BOXES = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 9], [20, 20, 30, 30], [0, 0, 10, 10]])
SCORES = torch.tensor([0.8, 0.9, 0.3, 0.7])


def test_nms_keeps_the_best_of_each_cluster():
    dets, keep = ops.nms(BOXES, SCORES, 0.5)
    assert keep.tolist() == [1, 2]
    torch.testing.assert_close(dets, torch.cat([BOXES, SCORES[:, None]], 1)[keep])


@pytest.mark.parametrize(("offset", "kept"), [(0, [0, 1]), (1, [0])])
def test_nms_offset_counts_the_last_pixel(offset, kept):
    # Boxes of 3x3 and 2x2 pixels: IoU 6/9 without the inclusive last pixel, 12/16 with it.
    boxes = torch.tensor([[0.0, 0, 3, 3], [0, 0, 2, 3]])
    _, keep = ops.nms(boxes, torch.tensor([0.9, 0.8]), 0.7, offset=offset)
    assert keep.tolist() == kept


def test_nms_options():
    _, keep = ops.nms(BOXES, SCORES, 0.99, score_threshold=0.5, max_num=2)
    assert keep.tolist() == [1, 0]
    _, keep = ops.nms(BOXES[:0], SCORES[:0], 0.5)
    assert keep.numel() == 0
    _, keep = ops.batched_nms(BOXES, SCORES, torch.arange(4), dict(type="nms", iou_threshold=0.5))
    assert keep.tolist() == [1, 0, 3, 2]


@pytest.fixture
def maps():
    torch.manual_seed(0)
    return torch.randn(2, 3, 9, 7, dtype=torch.double, requires_grad=True)


ROIS = torch.tensor([[0, 0.3, 0.4, 6.3, 7.1], [1, 2.0, 2, 5, 5], [0, 1, 1, 1.2, 1.1]]).double()


@pytest.mark.parametrize("sampling_ratio", [0, 1, 2, 3])
@pytest.mark.parametrize("aligned", [True, False])
def test_roi_align_gradients(maps, sampling_ratio, aligned):
    assert gradcheck(
        lambda x: ops.roi_align(x, ROIS, (3, 2), 0.9, sampling_ratio, "avg", aligned), (maps,)
    )


def test_roi_align_by_hand():
    ramp = torch.arange(36.0).view(1, 1, 6, 6)
    roi = torch.tensor([[0, 1.0, 1.0, 5.0, 5.0]])
    # Each bin averages 2x2 cells of a linear ramp, which gives its value at the bin center.
    aligned = ops.roi_align(ramp, roi, 2, 1.0, 2, "avg", True)
    expected = torch.tensor([[1.5 * 6 + 1.5, 1.5 * 6 + 3.5], [3.5 * 6 + 1.5, 3.5 * 6 + 3.5]])
    torch.testing.assert_close(aligned[0, 0], expected)
    shifted = ops.roi_align(ramp, roi, 2, 1.0, 2, "avg", False)
    torch.testing.assert_close(shifted[0, 0, 0, 0], expected[0, 0] + 3.5)


@bridged
def test_roi_align_keeps_full_precision_of_boxes_in_half_precision():
    x = torch.linspace(0, 1, 600).view(1, 1, 1, 600).repeat(1, 1, 4, 1)
    roi = torch.tensor([[0, 515.0, 0, 517.0, 2.0]])
    half = ops.roi_align(x.bfloat16(), roi, 1, 1.0, 1)
    full = ops.roi_align(x.bfloat16().float(), roi, 1, 1.0, 1)
    torch.testing.assert_close(half, full.bfloat16())


@bridged
def test_roi_align_max_pooling_is_refused(maps):
    with pytest.raises(NotImplementedError, match="pool_mode='avg'"):
        ops.roi_align(maps, ROIS, 2, 1.0, 0, "max")


def test_roi_pool_by_hand_and_gradient(maps):
    ramp = torch.arange(16.0).view(1, 1, 4, 4)
    out = ops.roi_pool(ramp, torch.tensor([[0, 0.0, 0, 3, 3]]), 2, 1.0)
    assert out[0, 0].tolist() == [[5, 7], [13, 15]]
    assert gradcheck(lambda x: ops.roi_pool(x, ROIS, (2, 2), 1.0), (maps,))


def _deform_inputs(groups, deform_groups):
    torch.manual_seed(1)
    make = dict(dtype=torch.double, requires_grad=True)
    x = torch.randn(2, 4, 5, 6, **make)
    weight = torch.randn(4, 4 // groups, 3, 3, **make)
    # Not at cell boundaries, where bilinear interpolation is not differentiable.
    offset = (torch.rand(2, 18 * deform_groups, 5, 6, dtype=torch.double) * 0.6 + 0.2).detach()
    mask = torch.rand(2, 9 * deform_groups, 5, 6, **make)
    return x, offset.requires_grad_(), mask, weight


@pytest.mark.parametrize(("groups", "deform_groups"), [(1, 1), (2, 2)])
def test_deform_conv_gradients(groups, deform_groups):
    x, offset, mask, weight = _deform_inputs(groups, deform_groups)
    bias = torch.randn(4, dtype=torch.double, requires_grad=True)
    assert gradcheck(
        lambda *a: ops.deform_conv2d(*a, 1, 1, 1, groups, deform_groups, False, 2),
        (x, offset, weight),
        fast_mode=True,
    )
    assert gradcheck(
        lambda *a: ops.modulated_deform_conv2d(*a, 1, 1, 1, groups, deform_groups),
        (x, offset, mask, weight, bias),
        fast_mode=True,
    )


def test_deform_conv_without_offsets_is_a_convolution():
    x, offset, _, weight = _deform_inputs(2, 1)
    zeros = torch.zeros_like(offset)
    plain = torch.nn.functional.conv2d(x, weight, stride=2, padding=1, groups=2)
    ours = ops.deform_conv2d(x, zeros[..., :3, :3], weight, 2, 1, 1, 2, 1)
    torch.testing.assert_close(ours, plain)
