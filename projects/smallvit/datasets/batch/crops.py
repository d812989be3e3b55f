"""Batch implementation of random crops with padding."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmpretrain.datasets.transforms import RandomCrop
from torch import Tensor

from smallvit.datasets.batch.forms import (
    BatchForm,
    Change,
    NoBatchForm,
    form_of,
    opencv_color,
    rows,
)


@form_of(RandomCrop)
class RandomCropForm(BatchForm):
    """Batch implementation of MMPretrain's ``RandomCrop`` with padding.

    Args:
        transform (RandomCrop): Per-image transform whose settings are used.

    Raises:
        NoBatchForm: If ``pad_if_needed`` of the transform is set.
    """

    def __init__(self, transform: Any) -> None:
        super().__init__(transform)
        if transform.pad_if_needed:
            raise NoBatchForm(
                f"{type(transform).__name__}(pad_if_needed=True) has no batch version"
            )
        self.padding = _four_sides(transform.padding)
        self.fill = opencv_color(transform.pad_val)

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]:
        """Compute the size of the output images; see ``BatchForm.size_after``."""
        height, width = self._padded(size)
        return min(height, self.transform.crop_size[0]), min(width, self.transform.crop_size[1])

    def draw(self, count: int, shape: tuple[int, int, int]) -> Change:
        """Sample random parameters for each image of a batch; see ``BatchForm.draw``."""
        height, width = self._padded(shape[1:])
        size = self.size_after(shape[1:])
        tops = np.random.randint(0, height - size[0] + 1, count)
        lefts = np.random.randint(0, width - size[1] + 1, count)
        values = dict(tops=rows(tops), lefts=rows(lefts), size=size)
        return Change(crop_padded, dict(values, padding=self.padding, fill=self.fill))

    def _padded(self, size: tuple[int, int]) -> tuple[int, int]:
        left, top, right, bottom = self.padding
        return size[0] + top + bottom, size[1] + left + right


def _four_sides(padding: int | Sequence[int] | None) -> tuple[int, int, int, int]:
    """Convert a padding to (left, top, right, bottom), as MMCV does."""
    if padding is None:
        return 0, 0, 0, 0
    if isinstance(padding, Sequence):
        return tuple(padding) * (4 // len(padding))
    return (padding,) * 4


def crop_padded(
    images: Tensor,
    tops: Tensor,
    lefts: Tensor,
    size: tuple[int, int],
    padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    fill: Sequence[float] = (0,),
) -> Tensor:
    """Pad images with a constant value, and crop each image at its own position.

    Args:
        images (Tensor): Images (B, C, H, W).
        tops (Tensor): First row of each crop in the padded image, int64 (B, ).
        lefts (Tensor): First column of each crop in the padded image, int64 (B, ).
        size (tuple[int, int]): Height h and width w of the crops.
        padding (tuple[int, int, int, int]): Padding on the left, top, right and bottom. Defaults
            to no padding.
        fill (Sequence[float]): Padding value, or one value per channel. Defaults to 0.

    Returns:
        Tensor: Crops (B, C, h, w) with the dtype of ``images``.
    """
    if any(padding):
        left, top, right, bottom = padding
        count, channels, height, width = images.shape
        values = torch.as_tensor(fill, dtype=images.dtype, device=images.device)
        padded = images.new_empty(count, channels, height + top + bottom, width + left + right)
        padded[:] = values.reshape(-1, 1, 1)[:channels]
        padded[:, :, top : top + height, left : left + width] = images
        images = padded
    parts = images.unfold(2, size[0], 1).unfold(3, size[1], 1)
    return parts[torch.arange(len(images), device=images.device), :, tops, lefts]
