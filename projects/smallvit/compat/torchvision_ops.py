"""mmcv's compiled ops implemented with torchvision; loaded under the name ``mmcv._ext``.

The functions have the names and the calling convention of mmcv 2.1's C++ extension:
results are written to tensors that the caller has allocated. mmcv's autograd
functions call them. They support CPU and CUDA; half precision is computed in
float32 where torchvision has no kernel for it.

Every op that is not defined here exists as a name (mmcv checks this at import) and
raises :class:`NotImplementedError` when it is called.

Differences from compiled mmcv: ``nms`` may select another box among equal scores, and
``roi_pool`` rounds regions to whole cells as torchvision does.
"""

from collections.abc import Callable, Sequence

import torch
import torchvision
from torch import Tensor

_tv = torch.ops.torchvision


def __getattr__(name: str) -> Callable:
    if name.startswith("__"):
        raise AttributeError(f"module 'mmcv._ext' has no attribute {name!r}")

    def unsupported(*args, **kwargs):
        raise NotImplementedError(
            f"mmcv op {name!r} requires the compiled mmcv, which is not installed. Without it, "
            "smallvit provides only nms, roi_align, roi_pool and (modulated) deformable "
            "convolution, using torchvision. Install mmcv 2.1.0 built for your torch: "
            "https://mmcv.readthedocs.io/en/2.x/get_started/installation.html"
        )

    unsupported.__name__ = name
    return unsupported


def get_compiler_version() -> str:
    """Compiler shown in mmcv's environment report."""
    return f"none (using ops of torchvision {torchvision.__version__})"


def get_compiling_cuda_version() -> str:
    """CUDA version of torchvision's ops."""
    return torch.version.cuda or "not available"


def _full(tensor: Tensor) -> Tensor:
    """Convert half precision to float32; leave other dtypes unchanged."""
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def nms(boxes: Tensor, scores: Tensor, iou_threshold: float, offset: int = 0) -> Tensor:
    """Greedy non-maximum suppression.

    Args:
        boxes (Tensor): Boxes (x1, y1, x2, y2) of shape (N, 4).
        scores (Tensor): Scores of shape (N, ).
        iou_threshold (float): Boxes that overlap a kept box by more than this are dropped.
        offset (int): 1 if x2 and y2 are the last pixels inside the box. Defaults to 0.

    Returns:
        Tensor: Indices of the kept boxes by descending score, int64.
    """
    boxes = _full(boxes)
    if offset:
        # Shifting an inclusive corner makes it exclusive: widths, areas and overlaps agree.
        boxes = boxes + boxes.new_tensor([0, 0, offset, offset])
    return _tv.nms(boxes, scores.to(boxes.dtype), float(iou_threshold))


def roi_align_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """RoIAlign with average pooling, (B, C, H, W) and (K, 5) into ``output`` (K, C, h, w)."""
    _refuse_max_pooling(pool_mode)
    x = _full(input)
    size = (aligned_height, aligned_width)
    output.copy_(_tv.roi_align(x, rois.to(x.dtype), spatial_scale, *size, sampling_ratio, aligned))


def roi_align_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax_y: Tensor,
    argmax_x: Tensor,
    grad_input: Tensor,
    aligned_height: int,
    aligned_width: int,
    spatial_scale: float,
    sampling_ratio: int,
    pool_mode: int,
    aligned: bool,
) -> None:
    """Gradient of RoIAlign, written into ``grad_input`` (B, C, H, W)."""
    _refuse_max_pooling(pool_mode)
    grad = _full(grad_output)
    size = (aligned_height, aligned_width)
    grad_input.copy_(
        _tv._roi_align_backward(
            grad,
            rois.to(grad.dtype),
            spatial_scale,
            *size,
            *grad_input.shape,
            sampling_ratio,
            aligned,
        )
    )


def _refuse_max_pooling(pool_mode: int) -> None:
    if pool_mode != 1:
        raise NotImplementedError(
            "roi_align with pool_mode='max' requires the compiled mmcv, because torchvision "
            "supports only average pooling. Use pool_mode='avg', the default of mmcv"
        )


def roi_pool_forward(
    input: Tensor,
    rois: Tensor,
    output: Tensor,
    argmax: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """RoIPool, (B, C, H, W) and (K, 5) into ``output`` and ``argmax`` (K, C, h, w)."""
    x = _full(input)
    pooled, index = _tv.roi_pool(x, rois.to(x.dtype), spatial_scale, pooled_height, pooled_width)
    output.copy_(pooled)
    argmax.copy_(index)


def roi_pool_backward(
    grad_output: Tensor,
    rois: Tensor,
    argmax: Tensor,
    grad_input: Tensor,
    pooled_height: int,
    pooled_width: int,
    spatial_scale: float,
) -> None:
    """Gradient of RoIPool, written into ``grad_input`` (B, C, H, W)."""
    grad = _full(grad_output).contiguous()
    grad_input.copy_(
        _tv._roi_pool_backward(
            grad,
            rois.to(grad.dtype),
            argmax,
            spatial_scale,
            pooled_height,
            pooled_width,
            *grad_input.shape,
        )
    )


def deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    output: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Deformable convolution without mask, into ``output``; ``columns`` and ``ones`` unused."""
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    output.copy_(_deform_conv(input, weight, offset, None, None, geometry))


def deform_conv_backward_input(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_input: Tensor,
    grad_offset: Tensor,
    weight: Tensor,
    columns: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    im2col_step: int,
) -> None:
    """Gradients of :func:`deform_conv_forward` for input and offset."""
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    grads = _deform_conv_backward(grad_output, input, weight, offset, None, None, geometry)
    grad_input.copy_(grads[0])
    grad_offset.copy_(grads[2])


def deform_conv_backward_parameters(
    input: Tensor,
    offset: Tensor,
    grad_output: Tensor,
    grad_weight: Tensor,
    columns: Tensor,
    ones: Tensor,
    kW: int,
    kH: int,
    dW: int,
    dH: int,
    padW: int,
    padH: int,
    dilationW: int,
    dilationH: int,
    group: int,
    deformable_group: int,
    scale: float,
    im2col_step: int,
) -> None:
    """Gradient of :func:`deform_conv_forward` for the weight, added ``scale`` times."""
    geometry = (dH, dW, padH, padW, dilationH, dilationW, group, deformable_group)
    # torchvision returns a gradient in the weight's layout, so a view of the
    # gradient buffer can replace the weight: its values are not used here.
    grads = _deform_conv_backward(grad_output, input, grad_weight, offset, None, None, geometry)
    grad_weight.add_(grads[1].to(grad_weight.dtype), alpha=scale)


def modulated_deform_conv_forward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    output: Tensor,
    columns: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Modulated deformable convolution, into ``output``; ``ones`` and ``columns`` unused."""
    geometry = (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    bias = bias if with_bias else None
    output.copy_(_deform_conv(input, weight, offset, mask, bias, geometry))


def modulated_deform_conv_backward(
    input: Tensor,
    weight: Tensor,
    bias: Tensor,
    ones: Tensor,
    offset: Tensor,
    mask: Tensor,
    columns: Tensor,
    grad_input: Tensor,
    grad_weight: Tensor,
    grad_bias: Tensor,
    grad_offset: Tensor,
    grad_mask: Tensor,
    grad_output: Tensor,
    kernel_h: int,
    kernel_w: int,
    stride_h: int,
    stride_w: int,
    pad_h: int,
    pad_w: int,
    dilation_h: int,
    dilation_w: int,
    group: int,
    deformable_group: int,
    with_bias: bool,
) -> None:
    """Gradients of :func:`modulated_deform_conv_forward`, each into its buffer."""
    geometry = (stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group)
    grads = _deform_conv_backward(
        grad_output, input, weight, offset, mask, bias if with_bias else None, geometry
    )
    buffers = [grad_input, grad_weight, grad_offset, grad_mask]
    if with_bias:
        buffers.append(grad_bias)
    for buffer, grad in zip(buffers, grads, strict=False):
        buffer.copy_(grad)


def _deform_conv(
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: Sequence[int],
) -> Tensor:
    return _tv.deform_conv2d(
        *_deform_operands(input, weight, offset, mask, bias), *geometry, mask is not None
    )


def _deform_conv_backward(
    grad: Tensor,
    input: Tensor,
    weight: Tensor,
    offset: Tensor,
    mask: Tensor | None,
    bias: Tensor | None,
    geometry: Sequence[int],
) -> Sequence[Tensor]:
    """Gradients for input, weight, offset, mask and bias, in this order."""
    operands = _deform_operands(input, weight, offset, mask, bias)
    return _tv._deform_conv2d_backward(_full(grad), *operands, *geometry, mask is not None)


def _deform_operands(
    input: Tensor, weight: Tensor, offset: Tensor, mask: Tensor | None, bias: Tensor | None
) -> list[Tensor]:
    """Contiguous operands, with the empty tensors that torchvision expects for absent ones."""
    if mask is None:
        mask = input.new_zeros((input.shape[0], 1))
    if bias is None:
        bias = input.new_zeros(weight.shape[0])
    return [_full(t).contiguous() for t in (input, weight, offset, mask, bias)]
