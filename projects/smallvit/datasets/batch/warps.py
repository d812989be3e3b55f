"""Affine warps of images with one matrix per image, with the results of Pillow and OpenCV."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

#: Added before fractions are cut off, for values that rounding took below a whole number.
_ROUNDING = 1e-4

#: Where the numbers of a matrix are when rows and columns are exchanged.
TURNED = [4, 3, 5, 1, 0, 2]


def rotation(degrees: float, size: tuple[int, int]) -> tuple[float, ...]:
    """Compute the matrix of a rotation around the center of an image.

    Args:
        degrees (float): Counterclockwise angle in degrees.
        size (tuple[int, int]): Height and width of the image.

    Returns:
        tuple[float, ...]: Six entries of the matrix from output to input coordinates.
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
    """Warp images by affine matrices.

    Args:
        images (Tensor): uint8 (B, C, H, W).
        matrices (Tensor): Six numbers for each image, from the center of a pixel (x, y) to that
            of what it becomes, float64 (B, 6).
        fill (Sequence[float]): Values of the channels outside of the image.
        interpolation (str): "bilinear" or "bicubic". Defaults to "bicubic".
        axes (str): "x" where rows stay, "y" where columns stay, which saves work. Defaults to
            "xy".

    Returns:
        Tensor: uint8 (B, C, H, W).
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
    """Rows that begin elsewhere, by ``shifts`` (B, H): windows of longer rows, weighted."""
    width = images.shape[3]
    first = shifts.floor()
    offsets, weights = _weights((shifts - first).float(), interpolation)
    margin = width + 2  # a row that is shifted further shows nothing of the image
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
    """Pixels from between others, at places (B, H, W)."""
    count, channels, height, width = images.shape
    left, top = x.floor(), y.floor()
    offsets, x_weights = _weights((x - left).float(), interpolation)
    _, y_weights = _weights((y - top).float(), interpolation)
    # All pixels around a place at once: (B, taps down, taps right, H, W).
    steps = torch.tensor(offsets, device=images.device)[:, None, None]
    down = (top.long()[:, None] + steps).clamp_(0, height - 1)[:, :, None] * width
    right = (left.long()[:, None] + steps).clamp_(0, width - 1)[:, None]
    index = (down + right).view(count, 1, -1).expand(-1, channels, -1)
    found = images.reshape(count, channels, -1).gather(2, index).float()
    weights = torch.stack(y_weights, 1)[:, :, None] * torch.stack(x_weights, 1)[:, None]
    found = found.view(count, channels, -1, height, width)
    return (found * weights.view(count, 1, -1, height, width)).sum(2)


def _weights(d: Tensor, interpolation: str) -> tuple[tuple[int, ...], list[Tensor]]:
    """Pixels around a place, from the one before it, and their weights."""
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
    """Take each pixel of some images from where a matrix says, as OpenCV does it: bilinearly,
    between the image and what is around it too.

    Args:
        images (Tensor): uint8 (B, C, H, W).
        rows (Tensor): Which of them, int64 (N, ).
        matrices (Tensor): Six numbers for each, from a pixel (x, y) to where it comes from, both
            counted from the center of the first one, float64 (N, 6).
        fill (Sequence[float]): What is around an image: a value, or one for each channel.
            Defaults to 0.

    Returns:
        Tensor: uint8 (B, C, H, W).
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
