"""The inhomogeneous depth-wise convolution and its gradients as Triton kernels.

Importing this module imports Triton. The three functions have the signatures and results of
:mod:`smallvit.ops.shifted_products`; strides are passed on, so that any memory format is read
in place. A program owns a block of positions of one sample and group. It holds a block of the
group's channels, loops over the taps, and sums in float32 (float64 for float64).

The kernels are checked against the plain path under Triton's interpreter. Their speed on a GPU is
unmeasured, and the block sizes below are estimates.
"""

from contextlib import nullcontext
from math import isqrt

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["convolve", "grad_input", "grad_weight"]

POSITIONS = 128  # positions of a block: coalesced reads of one tap's kernels
MAX_CHANNELS = 16  # channels of a block: what a program sums in registers


@triton.jit
def _map_pointers(base, sample, channel, h, w, stride_b, stride_c, stride_h, stride_w):
    """Point at (channels, positions) of one sample of a map."""
    return (
        base
        + sample.to(tl.int64) * stride_b
        + channel.to(tl.int64)[:, None] * stride_c
        + (h * stride_h + w * stride_w)[None, :]
    )


@triton.jit
def _kernel_pointers(
    base, sample, group, tap, h, w, stride_b, stride_g, stride_t, stride_h, stride_w
):
    """Point at one tap of the kernels of (positions,) of one sample and group."""
    start = base + sample.to(tl.int64) * stride_b + group.to(tl.int64) * stride_g
    return start + tap * stride_t + h * stride_h + w * stride_w


@triton.jit
def _gather_kernel(
    source, weight, out, G, channels, H, W,
    source_b, source_c, source_h, source_w,
    weight_b, weight_g, weight_t, weight_h, weight_w,
    out_b, out_c, out_h, out_w,
    K: tl.constexpr, ADJOINT: tl.constexpr, SUM: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """Sum shifted maps times their taps; the adjoint reads taps where the shift leads."""
    position = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    sample = tl.program_id(1) // G
    group = tl.program_id(1) % G
    local = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    channel = group * channels + local
    h = position // W
    w = position % W
    inside = position < H * W
    total = tl.zeros((BLOCK_C, BLOCK_P), dtype=SUM)
    for tap in range(K * K):
        dy = tap // K - K // 2
        dx = tap % K - K // 2
        if ADJOINT:
            dy = -dy
            dx = -dx
        hit = inside & (h + dy >= 0) & (h + dy < H) & (w + dx >= 0) & (w + dx < W)
        values = tl.load(
            _map_pointers(
                source, sample, channel, h + dy, w + dx, source_b, source_c, source_h, source_w
            ),
            mask=(local < channels)[:, None] & hit[None, :],
            other=0,
        )
        if ADJOINT:
            kernel_h = h + dy
            kernel_w = w + dx
        else:
            kernel_h = h
            kernel_w = w
        taps = tl.load(
            _kernel_pointers(
                weight, sample, group, tap, kernel_h, kernel_w,
                weight_b, weight_g, weight_t, weight_h, weight_w,
            ),
            mask=hit,
            other=0,
        )  # fmt: skip
        total += values.to(SUM) * taps.to(SUM)[None, :]
    tl.store(
        _map_pointers(out, sample, channel, h, w, out_b, out_c, out_h, out_w),
        total.to(out.dtype.element_ty),
        mask=(local < channels)[:, None] & inside[None, :],
    )


@triton.jit
def _grad_weight_kernel(
    grad, source, out, G, channels, H, W,
    grad_b, grad_c, grad_h, grad_w,
    source_b, source_c, source_h, source_w,
    out_b, out_g, out_t, out_h, out_w,
    K: tl.constexpr, SUM: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_P: tl.constexpr,
):  # fmt: skip
    """For each tap, sum over the group's channels the products of gradient and shifted map."""
    position = tl.program_id(0) * BLOCK_P + tl.arange(0, BLOCK_P)
    sample = tl.program_id(1) // G
    group = tl.program_id(1) % G
    h = position // W
    w = position % W
    inside = position < H * W
    for tap in range(K * K):
        dy = tap // K - K // 2
        dx = tap % K - K // 2
        hit = inside & (h + dy >= 0) & (h + dy < H) & (w + dx >= 0) & (w + dx < W)
        total = tl.zeros((BLOCK_P,), dtype=SUM)
        for first in range(0, channels, BLOCK_C):
            local = first + tl.arange(0, BLOCK_C)
            channel = group * channels + local
            mask = (local < channels)[:, None] & hit[None, :]
            gradient = tl.load(
                _map_pointers(grad, sample, channel, h, w, grad_b, grad_c, grad_h, grad_w),
                mask=mask,
                other=0,
            )
            values = tl.load(
                _map_pointers(
                    source, sample, channel, h + dy, w + dx, source_b, source_c, source_h, source_w
                ),
                mask=mask,
                other=0,
            )
            total += tl.sum(gradient.to(SUM) * values.to(SUM), axis=0)
        tl.store(
            _kernel_pointers(out, sample, group, tap, h, w, out_b, out_g, out_t, out_h, out_w),
            total.to(out.dtype.element_ty),
            mask=inside,
        )


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve a map with a kernel for each position.

    Args:
        x (Tensor): Feature map (B, C, H, W).
        weight (Tensor): Kernels (B, G, k * k, H, W).

    Returns:
        Tensor: Feature map (B, C, H, W) in the memory format of ``x``.
    """
    return _gather(x, weight, adjoint=False)


def grad_input(grad: Tensor, weight: Tensor) -> Tensor:
    """Gradient of :func:`convolve` with respect to its map.

    Args:
        grad (Tensor): Gradient of the output (B, C, H, W).
        weight (Tensor): Kernels (B, G, k * k, H, W).

    Returns:
        Tensor: Gradient (B, C, H, W) in the memory format of ``grad``.
    """
    return _gather(grad, weight, adjoint=True)


def grad_weight(grad: Tensor, x: Tensor, groups: int, kernel_size: int) -> Tensor:
    """Gradient of :func:`convolve` with respect to its kernels.

    Args:
        grad (Tensor): Gradient of the output (B, C, H, W).
        x (Tensor): Feature map (B, C, H, W).
        groups (int): G, the groups of channels that share their kernels.
        kernel_size (int): k.

    Returns:
        Tensor: Gradient (B, G, k * k, H, W), contiguous.
    """
    B, C, H, W = x.shape
    out = x.new_empty(B, groups, kernel_size**2, H, W)
    if x.numel() == 0:
        return out.zero_()
    with _device_of(x):
        _grad_weight_kernel[(triton.cdiv(H * W, POSITIONS), B * groups)](
            grad, x, out, groups, C // groups, H, W,
            *grad.stride(), *x.stride(), *out.stride(),
            K=kernel_size, SUM=_sum_dtype(x), BLOCK_C=_block_c(C // groups), BLOCK_P=POSITIONS,
        )  # fmt: skip
    return out


def _gather(source: Tensor, weight: Tensor, adjoint: bool) -> Tensor:
    """Launch the kernel that serves the convolution and its adjoint."""
    (B, C, H, W), G = source.shape, weight.shape[1]
    out = torch.empty_like(source)
    if source.numel() == 0:
        return out
    block_c = _block_c(C // G)
    grid = (triton.cdiv(H * W, POSITIONS), B * G, triton.cdiv(C // G, block_c))
    with _device_of(source):
        _gather_kernel[grid](
            source, weight, out, G, C // G, H, W,
            *source.stride(), *weight.stride(), *out.stride(),
            K=isqrt(weight.shape[2]), ADJOINT=adjoint, SUM=_sum_dtype(source),
            BLOCK_C=block_c, BLOCK_P=POSITIONS,
        )  # fmt: skip
    return out


def _block_c(channels: int) -> int:
    """Return the channels of a block, a power of two."""
    return min(MAX_CHANNELS, triton.next_power_of_2(channels))


def _sum_dtype(x: Tensor) -> tl.dtype:
    """Return the dtype in which products are summed."""
    return tl.float64 if x.dtype == torch.float64 else tl.float32


def _device_of(x: Tensor):
    """Make the device of ``x`` current, as a launch needs; the interpreter has none."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()
