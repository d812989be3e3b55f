"""Dynamic depth-wise convolution: one kernel for each sample and channel.

The convolution is bilinear, and its gradient with respect to the map is the same convolution with
flipped kernels. Two custom operators, the convolution and its gradient with respect to the
kernels, are therefore closed under differentiation: ``torch.ops.smallvit.dynamic_dwconv2d`` and
``..._grad_weight``.
``torch.compile`` sees one opaque node; a grouped convolution with as many groups as samples times
channels would bind the graph to one batch size.

The forward pass is such a grouped convolution. For channels-last maps on a CPU it is one
convolution per sample, which avoids reordering (measured at (4, 96, 56, 56), 7x7, one thread:
2.4 ms instead of 14 ms). On a CPU the gradient of the kernels is a sum of shifted products, because
torch's implementation is the slowest part of a depth-wise convolution there (15 ms instead of
41 ms). Timing on CUDA has not been measured.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from smallvit.ops.checks import autocast_together, check_bias, check_kernel_size, check_pair
from smallvit.ops.dispatch import Operator
from smallvit.ops.exporting import columns_of, in_onnx_export
from smallvit.ops.shifted_products import grad_shared_weight

__all__ = ["dynamic_dwconv2d"]

OP = "dynamic_dwconv2d"


def dynamic_dwconv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve every channel of every sample with its own kernel.

    Stride 1, zero padding of half a kernel: the output has the size of the input. It is the
    homogeneous dynamic depth-wise convolution of `On the Connection between Local Attention and
    Dynamic Depth-wise Convolution <https://arxiv.org/abs/2106.04263>`_.

    Under ``torch.autocast`` all inputs are cast to its dtype, as for an ordinary convolution;
    otherwise ``x`` and ``weight`` must have the same dtype, which is that of the output. The
    output is channels-last if ``x`` is, else contiguous.

    Args:
        x (Tensor): Feature map (B, C, H, W).
        weight (Tensor): Kernels (B, C, k, k) with odd k. Reshape a prediction of
            C * k * k channels per sample with ``weight.view(B, C, k, k)``.
        bias (Tensor, optional): Bias (C,). Defaults to None.

    Returns:
        Tensor: Feature map (B, C, H, W).

    Raises:
        ValueError: If shapes do not match.
        TypeError: If dtypes do not match.
    """
    x, weight, bias = autocast_together(x, weight, bias)
    check_pair(OP, x, weight, 4, "(B, C, k, k)")
    if weight.shape[1] != x.shape[1]:
        raise ValueError(
            f"{OP}: expected weight with {x.shape[1]} channels as in x, got {weight.shape[1]}"
        )
    check_kernel_size(OP, *weight.shape[2:])
    check_bias(OP, bias, x.shape[1])
    out = _traceable(x, weight) if in_onnx_export(x) else _convolve(x, weight)
    return out if bias is None else out + bias.view(-1, 1, 1)


def _grouped(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve once, with the samples stacked as channels."""
    B, C, H, W = x.shape
    k = weight.shape[-1]
    kernels = weight.reshape(B * C, 1, k, k)
    out = F.conv2d(x.reshape(1, B * C, H, W), kernels, padding=k // 2, groups=B * C)
    return out.view(B, C, H, W)


def _traceable(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve with standard operators only, for graphs that are exported."""
    if isinstance(x.shape[0], int):
        return _grouped(x, weight)
    # The number of groups is a constant of the graph, so a dynamic batch size needs another
    # formulation. Traced sizes are tensors, which torch 2.7 does not accept as padding.
    (H, W), k = x.shape[2:], int(weight.shape[-1])
    out = x.new_zeros(())
    for j, rows in enumerate(columns_of(x, k)):
        out = out + weight[:, :, None, :, j] @ rows.flatten(3)
    return out.view(x.shape[0], x.shape[1], H, W)


def _memory_format(x: Tensor) -> torch.memory_format:
    """Return the memory format of the map, which the output preserves."""
    if x.is_contiguous() or not x.is_contiguous(memory_format=torch.channels_last):
        return torch.contiguous_format
    return torch.channels_last


def _run_convolve(x: Tensor, weight: Tensor) -> Tensor:
    memory_format = _memory_format(x)
    if x.numel() == 0:
        return torch.empty_like(x, memory_format=memory_format)
    if memory_format == torch.channels_last and x.device.type == "cpu":
        pairs = zip(x.split(1), weight.unsqueeze(2), strict=True)
        outputs = [F.conv2d(a, w, padding=w.shape[-1] // 2, groups=len(w)) for a, w in pairs]
        return torch.cat(outputs).contiguous(memory_format=memory_format)
    return _grouped(x, weight).contiguous(memory_format=memory_format)


def _run_grad_weight(grad: Tensor, x: Tensor, kernel_size: int) -> Tensor:
    B, C, H, W = x.shape
    if x.device.type == "cpu" or x.numel() == 0:
        return grad_shared_weight(grad, x, kernel_size)
    return torch.ops.aten.convolution_backward(
        grad.reshape(1, B * C, H, W),
        x.reshape(1, B * C, H, W),
        x.new_empty(B * C, 1, kernel_size, kernel_size),
        bias_sizes=None,
        stride=[1, 1],
        padding=[kernel_size // 2] * 2,
        dilation=[1, 1],
        transposed=False,
        output_padding=[0, 0],
        groups=B * C,
        output_mask=[False, True, False],
    )[1].reshape(B, C, kernel_size, kernel_size)


def _like_map(x: Tensor, weight: Tensor) -> Tensor:
    return torch.empty_like(x, memory_format=_memory_format(x))


def _like_kernels(grad: Tensor, x: Tensor, kernel_size: int) -> Tensor:
    return x.new_empty(*x.shape[:2], kernel_size, kernel_size)


def _save_inputs(ctx, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])


def _convolve_backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, weight = ctx.saved_tensors
    for_x, for_weight = ctx.needs_input_grad
    return (
        _convolve(grad, weight.flip(2, 3)) if for_x else None,
        _grad_weight(grad, x, weight.shape[-1]) if for_weight else None,
    )


def _grad_weight_backward(ctx, grad_w: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
    grad, x = ctx.saved_tensors
    for_grad, for_x = ctx.needs_input_grad[:2]
    return (
        _convolve(x, grad_w) if for_grad else None,
        _convolve(grad, grad_w.flip(2, 3)) if for_x else None,
        None,
    )


_convolve = Operator(f"smallvit::{OP}", _run_convolve, _like_map, _save_inputs, _convolve_backward)
_grad_weight = Operator(
    f"smallvit::{OP}_grad_weight",
    _run_grad_weight,
    _like_kernels,
    _save_inputs,
    _grad_weight_backward,
)
