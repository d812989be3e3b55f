"""Affine warps with one matrix per image, with the same results as Pillow and OpenCV."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

#: Added before truncation, for values that rounding errors moved below an integer.
_ROUNDING = 1e-4

#: Permutation of the matrix entries that exchanges rows and columns.
TURNED = [4, 3, 5, 1, 0, 2]


def rotation(degrees: float, size: tuple[int, int]) -> tuple[float, ...]:
    """Compute the matrix of a rotation around the center of an image.

    Args:
        degrees (float): Counterclockwise angle in degrees.
        size (tuple[int, int]): Height and width of the image.

    Returns:
        tuple[float, ...]: Six entries of the affine matrix from output to input coordinates.
    """
    angle = -math.radians(degrees % 360.0)
    cosine, sine = round(math.cos(angle), 15), round(math.sin(angle), 15)
    y, x = size[0] / 2.0, size[1] / 2.0
    left = cosine * -x + sine * -y + x
    top = -sine * -x + cosine * -y + y
    return cosine, sine, left, -sine, cosine, top


def warp(
    images: Tensor,
    matrices: Tensor,
    fill: Sequence[float],
    interpolation: str = "bicubic",
    axes: str = "xy",
) -> Tensor:
    """Warp images by affine matrices, as Pillow does.

    Args:
        images (Tensor): uint8 images (B, C, H, W).
        matrices (Tensor): float64 affine matrices (B, 6) from output to input coordinates (x, y);
            the center of the first pixel is (0.5, 0.5).
        fill (Sequence[float]): Fill value of each channel for pixels outside of the image.
        interpolation (str): "bilinear" or "bicubic". Defaults to "bicubic".
        axes (str): "x" if pixels only move within rows, "y" if they only move within columns,
            both of which are faster, or "xy". Defaults to "xy".

    Returns:
        Tensor: uint8 images (B, C, H, W).
    """
    if axes == "y":
        turned = warp(images.mT, matrices[:, TURNED], fill, interpolation, "x")
        return turned.mT
    height, width = images.shape[2:]
    like = dict(dtype=matrices.dtype, device=images.device)
    a, b, c, d, e, f = matrices[:, :, None, None].unbind(1)
    rows = torch.arange(height, **like)[:, None] + 0.5
    columns = torch.arange(width, **like) + 0.5
    x = a * columns + b * rows + c
    inside = (x >= 0) & (x < width)
    if axes == "x":
        values = _shifted(images, (b * rows + c)[..., 0], interpolation)
    else:
        y = d * columns + e * rows + f
        inside &= (y >= 0) & (y < height)
        values = _sampled(images, x - 0.5, y - 0.5, interpolation)
    values = (values + _ROUNDING).clamp_(0, 255).to(torch.uint8)
    outside = torch.tensor(fill, dtype=torch.uint8, device=images.device).view(-1, 1, 1)
    return torch.where(inside[:, None], values, outside)


def _shifted(images: Tensor, shifts: Tensor, interpolation: str) -> Tensor:
    """Shift rows by fractional offsets ``shifts`` (B, H)."""
    width = images.shape[3]
    first = shifts.floor()
    offsets, weights = _weights((shifts - first).float(), interpolation)
    margin = width + 2  # a row shifted further is completely outside of the image
    start, end = (edge.expand(-1, -1, -1, margin) for edge in (images[..., :1], images[..., -1:]))
    length = width + len(offsets) - 1
    windows = torch.cat((start, images, end), 3).unfold(3, length, 1)
    place = first.clamp(-width, width).long() + (offsets[0] + margin)
    chosen = torch.arange(images.shape[0], device=images.device)[:, None]
    rows = torch.arange(images.shape[2], device=images.device)
    found = windows[chosen, :, rows, place].float()  # (B, H, C, length)
    values = found[..., :width] * weights[0][..., None, None]
    for number, weight in enumerate(weights[1:], 1):
        values.addcmul_(found[..., number : number + width], weight[..., None, None])
    return values.transpose(1, 2)


def _sampled(images: Tensor, x: Tensor, y: Tensor, interpolation: str) -> Tensor:
    """Sample images at fractional coordinates (B, H, W)."""
    count, channels, height, width = images.shape
    left, top = x.floor(), y.floor()
    offsets, x_weights = _weights((x - left).float(), interpolation)
    _, y_weights = _weights((y - top).float(), interpolation)
    # Gathers all neighbors at once: (B, vertical taps, horizontal taps, H, W).
    steps = torch.tensor(offsets, device=images.device)[:, None, None]
    down = (top.long()[:, None] + steps).clamp_(0, height - 1)[:, :, None] * width
    right = (left.long()[:, None] + steps).clamp_(0, width - 1)[:, None]
    index = (down + right).view(count, 1, -1).expand(-1, channels, -1)
    found = images.reshape(count, channels, -1).gather(2, index).float()
    weights = torch.stack(y_weights, 1)[:, :, None] * torch.stack(x_weights, 1)[:, None]
    found = found.view(count, channels, -1, height, width)
    return (found * weights.view(count, 1, -1, height, width)).sum(2)


def _weights(d: Tensor, interpolation: str) -> tuple[tuple[int, ...], list[Tensor]]:
    """Compute the offsets and weights of the neighboring pixels."""
    if interpolation == "bilinear":
        return (0, 1), [1 - d, d]
    return (-1, 0, 1, 2), [
        d * (-1 + d * (2 - d)),
        1 + d * d * (d - 2),
        d * (1 + d * (1 - d)),
        d * d * (d - 1),
    ]


def warp_into(
    images: Tensor, rows: Tensor, matrices: Tensor, fill: Sequence[float] = (0,)
) -> Tensor:
    """Warp a subset of the images by affine matrices, as OpenCV does.

    The interpolation is bilinear; at the border, it includes the fill value.

    Args:
        images (Tensor): uint8 images (B, C, H, W).
        rows (Tensor): int64 indices (N, ) of the images to warp.
        matrices (Tensor): float64 affine matrices (N, 6) from output to input coordinates (x, y);
            the center of the first pixel is (0, 0).
        fill (Sequence[float]): Fill value for pixels outside of the image, or one value per
            channel. Defaults to 0.

    Returns:
        Tensor: uint8 images (B, C, H, W).
    """
    images = images.clone()
    count, (channels, height, width) = len(rows), images.shape[1:]
    like = dict(dtype=matrices.dtype, device=images.device)
    a, b, c, d, e, f = matrices[:, :, None, None].unbind(1)
    down, right = torch.arange(height, **like)[:, None], torch.arange(width, **like)
    x, y = a * right + b * down + c, d * right + e * down + f
    left, top = x.floor(), y.floor()
    x_weight, y_weight = (x - left).float(), (y - top).float()
    around = torch.as_tensor(fill, dtype=torch.float32, device=images.device)
    around = around[:channels, None]
    flat = images[rows].reshape(count, channels, -1).float()
    values = flat.new_zeros(())
    for row, row_weight in ((top, 1 - y_weight), (top + 1, y_weight)):
        for column, column_weight in ((left, 1 - x_weight), (left + 1, x_weight)):
            inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
            index = row.clamp(0, height - 1) * width + column.clamp(0, width - 1)
            found = flat.gather(2, index.long().view(count, 1, -1).expand(-1, channels, -1))
            found = torch.where(inside.view(count, 1, -1), found, around)
            values = values + found * (row_weight * column_weight).view(count, 1, -1)
    images[rows] = values.round_().clamp_(0, 255).to(torch.uint8).view(-1, *images.shape[1:])
    return images
