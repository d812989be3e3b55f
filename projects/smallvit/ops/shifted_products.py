"""The inhomogeneous depth-wise convolution and its gradients as sums of shifted products.

The functions run on any device with PyTorch only. A map is stored as one row of ``H * W`` values
with ``k // 2`` margins, so that a shift by (dy, dx) is an offset of ``dy * W + dx`` and each tap is
one product of contiguous vectors, without unfolding. Values that a horizontal shift would move
into the next image row are set to zero, in the source when gathering and in the target when
scattering. Samples and groups are processed in blocks, so that the workspace fits into the cache
of a CPU. Half precision is summed in float32.

On a CPU, kernels whose last two axes are contiguous are read in place. Kernels in channels-last
order are first transposed block by block, which takes longer than the convolution. The map ``x``
may have either memory format without extra cost.
"""

from collections.abc import Iterator
from math import isqrt
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["convolve", "grad_input", "grad_shared_weight", "grad_weight"]

# Number of elements per block and thread. Measured with 1 MiB of L2 cache: below 2**17 the call
# overhead dominates, above 2**20 there is no further speedup.
BLOCK_ELEMENTS = 1 << 19


class _Tap(NamedTuple):
    """A kernel tap: its index, its offset, and the outputs whose input is inside the map."""

    number: int
    offset: int
    start: int
    stop: int


def convolve(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve a map with a kernel for each position.

    Args:
        x (Tensor): Feature map (B, C, H, W).
        weight (Tensor): Kernels (B, G, k * k, H, W).

    Returns:
        Tensor: Feature map (B, C, H, W) in the memory format of ``x``.
    """
    out = torch.empty_like(x)
    _, G, taps, H, W = weight.shape
    x, out_groups, p = _by_group(x, G), _by_group(out, G), isqrt(taps) // 2
    for block in _blocks(x, weight):
        kernels = _as_rows(weight[block])
        padded, source = _row_buffer(x[block], p)
        total = torch.zeros_like(source).flatten(-2)
        for columns in _sweeps(p):
            source.copy_(x[block])
            for dx in columns:
                _zero_wrapped_columns(source, dx)
                for tap in _column_taps(dx, p, H, W):
                    total[..., tap.start : tap.stop].addcmul_(
                        padded[..., p + tap.offset + tap.start : p + tap.offset + tap.stop],
                        kernels[:, :, tap.number, None, tap.start : tap.stop],
                    )
        out_groups[block].copy_(total.unflatten(-1, (H, W)))
    return out


def grad_input(grad: Tensor, weight: Tensor) -> Tensor:
    """Compute the gradient of :func:`convolve` with respect to its map.

    Args:
        grad (Tensor): Gradient of the output (B, C, H, W).
        weight (Tensor): Kernels (B, G, k * k, H, W).

    Returns:
        Tensor: Gradient (B, C, H, W) in the memory format of ``grad``.
    """
    out = torch.empty_like(grad)
    _, G, taps, H, W = weight.shape
    grad, out_groups, p = _by_group(grad, G), _by_group(out, G), isqrt(taps) // 2
    for block in _blocks(grad, weight):
        kernels, rows = _as_rows(weight[block]), _as_rows(grad[block])
        total = torch.zeros_like(rows).unflatten(-1, (H, W))
        for columns in _sweeps(p):
            padded, target = _row_buffer(grad[block], p)
            # From the outermost column inward, so that no column zeroes sums of a previous one.
            for dx in reversed(columns):
                for tap in _column_taps(dx, p, H, W):
                    padded[..., p + tap.offset + tap.start : p + tap.offset + tap.stop].addcmul_(
                        rows[..., tap.start : tap.stop],
                        kernels[:, :, tap.number, None, tap.start : tap.stop],
                    )
                _zero_wrapped_columns(target, dx)
            total += target
        out_groups[block].copy_(total)
    return out


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
    B, _, H, W = x.shape
    # Initialized with zeros, because taps outside the map are not visited.
    out = x.new_zeros(B, groups, kernel_size**2, H * W)
    x, grad = _by_group(x, groups), _by_group(grad, groups)
    for block in _blocks(x, None):
        kernels = out[block]
        for tap, products in _tap_products(grad[block], x[block], kernel_size // 2):
            kernels[:, :, tap.number, tap.start : tap.stop] = products.sum(2)
    return out.unflatten(-1, (H, W))


def grad_shared_weight(grad: Tensor, x: Tensor, kernel_size: int) -> Tensor:
    """Compute the gradient with respect to kernels that all positions share, one per channel.

    Args:
        grad (Tensor): Gradient of the output (B, C, H, W).
        x (Tensor): Feature map (B, C, H, W).
        kernel_size (int): Odd kernel size k.

    Returns:
        Tensor: Gradient (B, C, k, k), contiguous.
    """
    out = x.new_zeros(*x.shape[:2], 1, kernel_size**2)
    x, grad = x.unsqueeze(2), grad.unsqueeze(2)
    for block in _blocks(x, None):
        kernels = out[block]
        for tap, products in _tap_products(grad[block], x[block], kernel_size // 2):
            kernels[..., tap.number] = products.sum(-1)
    return out.view(*out.shape[:2], kernel_size, kernel_size)


def _tap_products(grad: Tensor, x: Tensor, p: int) -> Iterator[tuple[_Tap, Tensor]]:
    """Yield the products of the gradient and the inputs of each tap, in a reused buffer."""
    H, W = x.shape[-2:]
    rows = _as_rows(grad)
    padded, source = _row_buffer(x, p)
    buffer = torch.empty_like(rows)
    for columns in _sweeps(p):
        source.copy_(x)
        for dx in columns:
            _zero_wrapped_columns(source, dx)
            for tap in _column_taps(dx, p, H, W):
                shifted = padded[..., p + tap.offset + tap.start : p + tap.offset + tap.stop]
                products = buffer[..., tap.start : tap.stop]
                yield tap, torch.mul(rows[..., tap.start : tap.stop], shifted, out=products)


def _by_group(x: Tensor, groups: int) -> Tensor:
    """View (B, C, H, W) as (B, G, C / G, H, W)."""
    return x.unflatten(1, (groups, x.shape[1] // groups))


def _sum_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype in which products are summed."""
    return torch.promote_types(dtype, torch.float32)


def _is_planar(weight: Tensor) -> bool:
    """Whether kernels can be read in place: each tap a contiguous map, no cast needed."""
    W = weight.shape[-1]
    return weight.stride()[-2:] == (W, 1) and weight.dtype == _sum_dtype(weight.dtype)


def _blocks(x: Tensor, weight: Tensor | None) -> Iterator[tuple[slice, slice]]:
    """Split (B, G, C / G, H, W) into blocks: several small samples, or groups of a large one."""
    B, G, channels, H, W = x.shape
    copied = 0 if weight is None or _is_planar(weight) else weight.shape[2]
    per_group = H * W * max(channels, copied)
    room = max(1, BLOCK_ELEMENTS * torch.get_num_threads() // max(1, per_group))
    groups, samples = min(G, room), max(1, room // G)
    for b in range(0, B, samples):
        for g in range(0, G, groups):
            yield slice(b, b + samples), slice(g, g + groups)


def _as_rows(x: Tensor) -> Tensor:
    """Flatten the last two axes to contiguous rows in the accumulation dtype."""
    x = x.to(_sum_dtype(x.dtype))
    if x.stride()[-2:] != (x.shape[-1], 1):
        x = x.contiguous()
    return x.flatten(-2)


def _row_buffer(like: Tensor, margin: int) -> tuple[Tensor, Tensor]:
    """Create a zero buffer of rows with margins, and a view of it with the map's shape."""
    *lead, H, W = like.shape
    padded = like.new_zeros(*lead, H * W + 2 * margin, dtype=_sum_dtype(like.dtype))
    return padded, padded[..., margin : margin + H * W].unflatten(-1, (H, W))


def _sweeps(p: int) -> tuple[range, range]:
    """Kernel columns to the right and to the left, each from the center outward."""
    return range(p + 1), range(-1, -p - 1, -1)


def _zero_wrapped_columns(image: Tensor, dx: int) -> None:
    """Set columns to zero that a shift by ``dx`` would move into another row."""
    if dx > 0:
        image[..., :dx].zero_()
    elif dx < 0:
        image[..., max(0, image.shape[-1] + dx) :].zero_()


def _column_taps(dx: int, p: int, H: int, W: int) -> Iterator[_Tap]:
    """Yield the taps of one kernel column that overlap the map."""
    for dy in range(-min(p, H - 1), min(p, H - 1) + 1):
        yield _Tap(
            number=(dy + p) * (2 * p + 1) + dx + p,
            offset=dy * W + dx,
            start=max(0, -dy) * W,
            stop=(H - max(0, dy)) * W,
        )
