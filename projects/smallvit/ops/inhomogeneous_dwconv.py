"""Inhomogeneous dynamic depth-wise convolution: one kernel for each sample, group and position.

The convolution is bilinear, so that it and its two gradients are closed under differentiation:
each is a custom operator whose gradients are the other two. Gradients of any order work, only the
two inputs are saved for the backward pass, and ``torch.compile`` sees one opaque node. The
operators are ``torch.ops.smallvit.inhomogeneous_dwconv2d`` (the name to register with a FLOP
counter), ``..._grad_input`` and ``..._grad_weight``.

On CUDA they run Triton kernels if Triton is installed. Under Triton's interpreter these agree with
the PyTorch implementation; the speed of their current version on a GPU has not been measured. On
other devices, and without Triton, they run :mod:`smallvit.ops.shifted_products`.
"""

from functools import cache
from importlib.util import find_spec
from types import ModuleType

import torch
from torch import Tensor

from smallvit.ops import shifted_products
from smallvit.ops.checks import autocast_together, check_bias, check_kernel_size, check_pair
from smallvit.ops.dispatch import Operator
from smallvit.ops.exporting import columns_of, in_onnx_export

__all__ = ["inhomogeneous_dwconv2d"]

OP = "inhomogeneous_dwconv2d"


def inhomogeneous_dwconv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve every position of every sample with its own kernel.

    The channels are divided into G groups of C / G adjacent channels, which share their kernels.
    Stride 1, zero padding of half a kernel: the output has the size of the input. It is the
    inhomogeneous dynamic depth-wise convolution of `On the Connection between Local Attention and
    Dynamic Depth-wise Convolution <https://arxiv.org/abs/2106.04263>`_.

    Products are summed in float32 (float64 inputs in float64). Under ``torch.autocast`` all
    inputs are cast to its dtype, as for an ordinary convolution; otherwise ``x`` and ``weight``
    must have the same dtype, which is that of the output.

    On a CPU, ``weight`` should be contiguous even if ``x`` is channels-last, because transposing it
    takes longer than the convolution. The output has the memory format of ``x``.

    Args:
        x (Tensor): Feature map (B, C, H, W).
        weight (Tensor): Kernels (B, G, k * k, H, W) with odd k, where tap ``i * k + j`` is row i
            and column j of a kernel. Reshape a predicted map of G * k * k channels with
            ``weight.unflatten(1, (G, k * k))``.
        bias (Tensor, optional): Bias (C,). Defaults to None.

    Returns:
        Tensor: Feature map (B, C, H, W).

    Raises:
        ValueError: If shapes do not match.
        TypeError: If dtypes do not match.
    """
    x, weight, bias = autocast_together(x, weight, bias)
    _check(x, weight, bias)
    out = _traceable(x, weight) if in_onnx_export(x) else _convolve(x, weight)
    return out if bias is None else out + bias.view(-1, 1, 1)


def _kernel_size(weight: Tensor) -> int:
    """Return k as an integer, also if the compiler represents the shape by symbols."""
    k = 1
    while k * k < weight.shape[2]:
        k += 1
    return k


#: Shapes and dtypes that were checked in previous calls in eager mode.
_checked: set[tuple] = set()
_MOST_CHECKED = 256


def _check(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    """Check the inputs of the operator, once per combination of sizes and dtypes."""
    if torch.compiler.is_compiling() or type(x) is not Tensor or torch.jit.is_tracing():
        _check_inputs(x, weight, bias)
        return
    key = (x.shape, weight.shape, x.dtype, weight.dtype, None if bias is None else bias.shape)
    if key in _checked:
        return
    _check_inputs(x, weight, bias)
    if len(_checked) == _MOST_CHECKED:
        _checked.clear()
    _checked.add(key)


def _check_inputs(x: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    check_pair(OP, x, weight, 5, "(B, G, k * k, H, W)")
    C, G, taps = x.shape[1], weight.shape[1], weight.shape[2]
    k = _kernel_size(weight)
    if k * k != taps:
        raise ValueError(f"{OP}: expected a square number k * k in axis 2 of weight, got {taps}")
    check_kernel_size(OP, k, k)
    if weight.shape[3:] != x.shape[2:]:
        raise ValueError(
            f"{OP}: expected weight with a kernel for each of the {tuple(x.shape[2:])} positions "
            f"of x, got {tuple(weight.shape[3:])}"
        )
    if G == 0 or C % G:
        raise ValueError(f"{OP}: expected the number of groups to divide {C} channels, got {G}")
    check_bias(OP, bias, C)


def _traceable(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve with standard operators only, for graphs that are exported."""
    G, k = weight.shape[1], _kernel_size(weight)
    out = x.new_zeros(())
    for j, rows in enumerate(columns_of(x, k)):
        taps = weight[:, :, j::k].unsqueeze(2)
        out = out + (rows.unflatten(1, (G, x.shape[1] // G)) * taps).sum(3)
    return out.flatten(1, 2)


@cache
def _triton_kernels() -> ModuleType | None:
    """Import the Triton kernels if Triton is installed."""
    if find_spec("triton") is None:
        return None
    from smallvit.ops import triton_kernels

    return triton_kernels


def _kernels(x: Tensor) -> ModuleType:
    """Select the implementation for the device of ``x``."""
    return (x.is_cuda and _triton_kernels()) or shifted_products


def _run_convolve(x: Tensor, weight: Tensor) -> Tensor:
    return _kernels(x).convolve(x, weight)


def _run_grad_input(grad: Tensor, weight: Tensor) -> Tensor:
    return _kernels(grad).grad_input(grad, weight)


def _run_grad_weight(grad: Tensor, x: Tensor, groups: int, kernel_size: int) -> Tensor:
    return _kernels(grad).grad_weight(grad, x, groups, kernel_size)


def _like_first(first: Tensor, weight: Tensor) -> Tensor:
    return torch.empty_like(first)


def _like_kernels(grad: Tensor, x: Tensor, groups: int, kernel_size: int) -> Tensor:
    return x.new_empty(x.shape[0], groups, kernel_size**2, *x.shape[2:])


def _save_inputs(ctx, inputs: tuple, output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.sizes = inputs[2:]


def _convolve_backward(ctx, grad: Tensor) -> tuple[Tensor | None, Tensor | None]:
    x, weight = ctx.saved_tensors
    for_x, for_weight = ctx.needs_input_grad
    return (
        _grad_input(grad, weight) if for_x else None,
        _grad_weight(grad, x, weight.shape[1], _kernel_size(weight)) if for_weight else None,
    )


def _grad_input_backward(ctx, grad_x: Tensor) -> tuple[Tensor | None, Tensor | None]:
    grad, weight = ctx.saved_tensors
    for_grad, for_weight = ctx.needs_input_grad
    groups, kernel_size = weight.shape[1], _kernel_size(weight)
    return (
        _convolve(grad_x, weight) if for_grad else None,
        _grad_weight(grad, grad_x, groups, kernel_size) if for_weight else None,
    )


def _grad_weight_backward(ctx, grad_w: Tensor) -> tuple[Tensor | None, Tensor | None, None, None]:
    grad, x = ctx.saved_tensors
    for_grad, for_x = ctx.needs_input_grad[:2]
    return (
        _convolve(x, grad_w) if for_grad else None,
        _grad_input(grad, grad_w) if for_x else None,
        None,
        None,
    )


_convolve = Operator(
    f"smallvit::{OP}", _run_convolve, _like_first, _save_inputs, _convolve_backward
)
_grad_input = Operator(
    f"smallvit::{OP}_grad_input", _run_grad_input, _like_first, _save_inputs, _grad_input_backward
)
_grad_weight = Operator(
    f"smallvit::{OP}_grad_weight",
    _run_grad_weight,
    _like_kernels,
    _save_inputs,
    _grad_weight_backward,
)
