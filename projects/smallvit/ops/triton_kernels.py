"""The inhomogeneous depth-wise convolution and its gradients as Triton kernels.

Importing this module imports Triton. The three functions have the signatures and results of
:mod:`smallvit.ops.shifted_products`. Strides are passed to the kernels, so that any memory format
is read in place. Sums are accumulated in float32 (float64 for float64 inputs).

Each program computes a few output rows of a block of columns for the channels of one group. It
iterates over the rows of the map in the receptive field of these outputs. Each loaded row is used
from registers for all output rows, and further kernel columns read it from the L1 cache. Loads are
vectorized along the channels of a channels-last map; in a contiguous map, neighboring threads read
neighboring columns.

The kernels are tested against the PyTorch implementation under Triton's interpreter, and compile
for two GPU architectures without register spilling. Their speed on a GPU has not been measured, see
README.md.
"""

from contextlib import nullcontext
from functools import cache
from math import isqrt
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

__all__ = ["convolve", "grad_input", "grad_weight"]

MAX_CHANNELS = 32  # maximum number of channels of a block
POSITIONS = 64  # maximum number of columns of a block; a quarter of it for channels-last maps
GATHER_ROWS = 4  # output rows of one program of `_gather_kernel`
WEIGHT_ROWS = 2  # the same for `_grad_weight_kernel`


@triton.jit
def _load_taps(pointers, row, hit, K: tl.constexpr):
    """Load one tap for each column, or zeros if its row is outside the kernel."""
    return tl.load(pointers, mask=hit & (row >= 0) & (row < K), other=0)


@triton.jit
def _gather_kernel(
    source, weight, out, G, channels, H, W, row_blocks,
    source_b, source_c, source_h, source_w,
    weight_b, weight_g, weight_t, weight_h, weight_w,
    out_b, out_c, out_h, out_w,
    K: tl.constexpr, ADJOINT: tl.constexpr, SUM: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_W: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """Sum products of shifted maps and taps; the adjoint reads taps at the shifted position."""
    P: tl.constexpr = K // 2
    h = tl.program_id(0) % row_blocks * 4
    # If told that columns are not contiguous, Triton assigns one column per thread and spreads
    # the threads over columns. Shifted loads are unaligned, so no vectorization is lost.
    w = tl.max_contiguous(tl.program_id(0) // row_blocks * BLOCK_W + tl.arange(0, BLOCK_W), 1)
    sample = (tl.program_id(1) // G).to(tl.int64)
    group = tl.program_id(1) % G
    local = tl.program_id(2) * BLOCK_C + tl.arange(0, BLOCK_C)
    source += sample * source_b + group * channels * source_c
    weight += sample * weight_b + group * weight_g
    out += sample * out_b + group * channels * out_c
    columns = local[:, None] * source_c + w[None, :] * source_w
    # Offset between the taps with which consecutive output rows use the same row of the map.
    step = K * weight_t if ADJOINT else weight_h - K * weight_t
    total0 = tl.zeros((BLOCK_C, BLOCK_W), dtype=SUM)
    total1 = total0
    total2 = total0
    total3 = total0
    for s in range(tl.maximum(h - P, 0), tl.minimum(h + 4 + P, H)):
        row = source + s * source_h + columns
        i = s - h + P  # kernel row that relates the first output row to row s of the map
        if ADJOINT:
            taps = weight + (s * weight_h + (2 * P - i) * K * weight_t) + w * weight_w
        else:
            taps = weight + (h * weight_h + i * K * weight_t) + w * weight_w
        for j in tl.static_range(K):
            hit = (w + (j - P) >= 0) & (w + (j - P) < W)
            mask = hit[None, :]
            if not WHOLE:
                mask = mask & (local < channels)[:, None]
            values = tl.load(row + (j - P) * source_w, mask=mask, other=0).to(SUM)
            if ADJOINT:
                at = taps + (j - P) * weight_w + (K - 1 - j) * weight_t
            else:
                at = taps + j * weight_t
            total0 += values * _load_taps(at, i, hit, K).to(SUM)[None, :]
            total1 += values * _load_taps(at + step, i - 1, hit, K).to(SUM)[None, :]
            total2 += values * _load_taps(at + 2 * step, i - 2, hit, K).to(SUM)[None, :]
            total3 += values * _load_taps(at + 3 * step, i - 3, hit, K).to(SUM)[None, :]
    to = out + h * out_h + local[:, None] * out_c + w[None, :] * out_w
    inside = (w < W)[None, :]
    if not WHOLE:
        inside = inside & (local < channels)[:, None]
    dtype = out.dtype.element_ty
    tl.store(to, total0.to(dtype), mask=inside)
    tl.store(to + out_h, total1.to(dtype), mask=inside & (h + 1 < H))
    tl.store(to + 2 * out_h, total2.to(dtype), mask=inside & (h + 2 < H))
    tl.store(to + 3 * out_h, total3.to(dtype), mask=inside & (h + 3 < H))


@triton.jit
def _grad_weight_kernel(
    grad, source, out, G, channels, H, W, row_blocks,
    grad_b, grad_c, grad_h, grad_w,
    source_b, source_c, source_h, source_w,
    out_b, out_g, out_t, out_h, out_w,
    K: tl.constexpr, SUM: tl.constexpr,
    BLOCK_C: tl.constexpr, BLOCK_W: tl.constexpr, BLOCKS: tl.constexpr, WHOLE: tl.constexpr,
):  # fmt: skip
    """For each tap, sum over the group's channels the products of gradient and shifted map."""
    P: tl.constexpr = K // 2
    h = tl.program_id(0) % row_blocks * 2
    w = tl.max_contiguous(tl.program_id(0) // row_blocks * BLOCK_W + tl.arange(0, BLOCK_W), 1)
    sample = (tl.program_id(1) // G).to(tl.int64)
    group = tl.program_id(1) % G
    local = tl.arange(0, BLOCK_C)
    grad += sample * grad_b + group * channels * grad_c + h * grad_h
    source += sample * source_b + group * channels * source_c
    out += sample * out_b + group * out_g + h * out_h
    gradients = grad + local[:, None] * grad_c + w[None, :] * grad_w
    columns = local[:, None] * source_c + w[None, :] * source_w
    inside = w < W
    second = h + 1 < H
    dtype = out.dtype.element_ty
    if BLOCKS == 1:
        mask = inside[None, :]
        if not WHOLE:
            mask = mask & (local < channels)[:, None]
        gradient0 = tl.load(gradients, mask=mask, other=0).to(SUM)
        gradient1 = tl.load(gradients + grad_h, mask=mask & second, other=0).to(SUM)
    for s in range(h - P, h + 2 + P):
        row = source + s * source_h + columns
        i = s - h + P
        to = out + i * K * out_t + w * out_w
        for j in tl.static_range(K):
            hit = (w + (j - P) >= 0) & (w + (j - P) < W) & (s >= 0) & (s < H)
            if BLOCKS == 1:
                mask = hit[None, :]
                if not WHOLE:
                    mask = mask & (local < channels)[:, None]
                values = tl.load(row + (j - P) * source_w, mask=mask, other=0).to(SUM)
                sum0 = tl.sum(gradient0 * values, axis=0)
                sum1 = tl.sum(gradient1 * values, axis=0)
            else:
                sum0 = tl.zeros((BLOCK_W,), dtype=SUM)
                sum1 = sum0
                for first in range(0, channels, BLOCK_C):
                    mask = hit[None, :] & (first + local < channels)[:, None]
                    values = tl.load(
                        row + first * source_c + (j - P) * source_w, mask=mask, other=0
                    ).to(SUM)
                    at = gradients + first * grad_c
                    sum0 += tl.sum(tl.load(at, mask=mask, other=0).to(SUM) * values, axis=0)
                    mask = mask & second
                    sum1 += tl.sum(
                        tl.load(at + grad_h, mask=mask, other=0).to(SUM) * values, axis=0
                    )
            tl.store(to + j * out_t, sum0.to(dtype), mask=inside & (i < K))
            tl.store(to + out_h + (j - K) * out_t, sum1.to(dtype), mask=inside & second & (i >= 1))


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
    """Compute the gradient of :func:`convolve` with respect to its map.

    Args:
        grad (Tensor): Gradient of the output (B, C, H, W).
        weight (Tensor): Kernels (B, G, k * k, H, W).

    Returns:
        Tensor: Gradient (B, C, H, W) in the memory format of ``grad``.
    """
    return _gather(grad, weight, adjoint=True)


def grad_weight(grad: Tensor, x: Tensor, groups: int, kernel_size: int) -> Tensor:
    """Compute the gradient of :func:`convolve` with respect to its kernels.

    Args:
        grad (Tensor): Gradient of the output (B, C, H, W).
        x (Tensor): Feature map (B, C, H, W).
        groups (int): Number G of channel groups.
        kernel_size (int): Odd kernel size k.

    Returns:
        Tensor: Gradient (B, G, k * k, H, W), contiguous.
    """
    B, C, H, W = x.shape
    out = x.new_empty(B, groups, kernel_size**2, H, W)
    if x.numel() == 0:
        return out.zero_()
    tile = weight_tile(C // groups, W, x.stride(1) == 1)
    row_blocks = triton.cdiv(H, WEIGHT_ROWS)
    with _device_of(x):
        _grad_weight_kernel[(row_blocks * triton.cdiv(W, tile.columns), B * groups)](
            grad, x, out, groups, C // groups, H, W, row_blocks,
            *grad.stride(), *x.stride(), *out.stride(),
            K=kernel_size, SUM=_sum_dtype(x), BLOCK_C=tile.channels, BLOCK_W=tile.columns,
            BLOCKS=triton.cdiv(C // groups, tile.channels), WHOLE=tile.whole,
            num_warps=tile.warps,
        )  # fmt: skip
    return out


def _gather(source: Tensor, weight: Tensor, adjoint: bool) -> Tensor:
    """Launch the kernel of the convolution or its adjoint."""
    (B, C, H, W), G = source.shape, weight.shape[1]
    out = torch.empty_like(source)
    if source.numel() == 0:
        return out
    tile = gather_tile(C // G, W, source.stride(1) == 1, source.dtype)
    row_blocks = triton.cdiv(H, GATHER_ROWS)
    blocks = row_blocks * triton.cdiv(W, tile.columns)
    with _device_of(source):
        _gather_kernel[(blocks, B * G, triton.cdiv(C // G, tile.channels))](
            source, weight, out, G, C // G, H, W, row_blocks,
            *source.stride(), *weight.stride(), *out.stride(),
            K=isqrt(weight.shape[2]), ADJOINT=adjoint, SUM=_sum_dtype(source),
            BLOCK_C=tile.channels, BLOCK_W=tile.columns, WHOLE=tile.whole,
            num_warps=tile.warps,
        )  # fmt: skip
    return out


class Tile(NamedTuple):
    """Tile of a program: channels of a group, columns, and number of warps.

    ``whole`` means that the group has exactly these channels, so that no mask is needed.
    """

    channels: int
    columns: int
    warps: int
    whole: bool


@cache
def gather_tile(channels: int, width: int, channels_last: bool, dtype: torch.dtype) -> Tile:
    """Choose the tile of the convolution and its adjoint.

    Args:
        channels (int): Channels per group.
        width (int): Number of columns of the map.
        channels_last (bool): Whether the map is in channels-last memory format.
        dtype (torch.dtype): Dtype of the map.

    Returns:
        Tile: Largest tile whose sums per thread fit the registers without spilling.
    """
    block = _block_c(channels)
    columns = _block_w(width, channels_last)
    if dtype == torch.float64:
        per_thread = 4
    else:
        per_thread = 16 if dtype == torch.float32 and not channels_last else 8
    warps = max(1, block * columns // (32 * per_thread))
    return Tile(block, columns, warps, block == channels)


@cache
def weight_tile(channels: int, width: int, channels_last: bool) -> Tile:
    """Choose the tile of the kernel gradient, whose sums over channels should stay in a warp.

    Args:
        channels (int): Channels per group.
        width (int): Number of columns of the map.
        channels_last (bool): Whether the map is in channels-last memory format.

    Returns:
        Tile: Tile in which, for a contiguous map, a thread has all channels of its column.
    """
    block = _block_c(channels)
    columns = _block_w(width, channels_last)
    return Tile(block, columns, max(1, columns // 32), block == channels)


def _block_c(channels: int) -> int:
    """Return the number of channels of a block, a power of two."""
    return min(MAX_CHANNELS, triton.next_power_of_2(channels))


def _block_w(width: int, channels_last: bool) -> int:
    """Return the block width with the fewest empty columns, the largest if several are equal."""
    most = POSITIONS // 4 if channels_last else POSITIONS
    choices = [block for block in (8, 16, 32, 64) if block <= most]
    return min(choices, key=lambda block: (triton.cdiv(width, block) * block, -block))


def _sum_dtype(x: Tensor) -> tl.dtype:
    """Return the dtype in which products are summed."""
    return tl.float64 if x.dtype == torch.float64 else tl.float32


def _device_of(x: Tensor):
    """Make the device of ``x`` current for a launch; the interpreter has no device."""
    return torch.cuda.device(x.device) if x.is_cuda else nullcontext()
