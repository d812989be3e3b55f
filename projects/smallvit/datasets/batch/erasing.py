"""Batch implementation of random erasing."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smallvit.datasets.batch.forms import BatchForm, Change, form_of
from smallvit.datasets.transforms.random_erasing import RandomErasing
from smallvit.errors import DataError


class _Erased:
    """Placeholder for an image that records the values that timm writes."""

    def __init__(self) -> None:
        self.boxes: list[tuple[int, int, int, int, int]] = []
        self.noise: list[Tensor] = []
        self.row = 0

    def __setitem__(self, place: tuple[slice, slice, slice], noise: Tensor) -> None:
        _, down, right = place
        height, width = down.stop - down.start, right.stop - right.start
        self.boxes.append((self.row, down.start, right.start, height, width))
        self.noise.append(noise.expand(-1, height, width).reshape(-1))


@form_of(RandomErasing)
class RandomErasingForm(BatchForm):
    """Batch implementation of ``smallvit.RandomErasing``; the transform samples the rectangles.

    Args:
        transform (RandomErasing): Per-image transform whose settings are used.
    """

    def __init__(self, transform: Any) -> None:
        super().__init__(transform)
        self.mean, self.std = (torch.tensor(each) for each in (transform.mean, transform.std))
        #: Image channel of each noise channel; the noise is in RGB order.
        self.order = np.arange(len(transform.mean))
        if transform.channel_order == "bgr" and len(self.order) > 1:
            self.order[:3] = (2, 1, 0)

    def draw(self, count: int, shape: tuple[int, int, int]) -> Change:
        """Sample random parameters for each image of a batch; see ``BatchForm.draw``."""
        channels, height, width = shape
        if channels != len(self.mean):
            raise DataError(
                f"RandomErasing: expected {len(self.mean)} channels as in mean, got {channels}. "
                "Set one value of mean and std per channel"
            )
        erased = _Erased()
        for erased.row in range(count):
            if random.random() <= self.transform.erase_prob:
                self.transform._erase._erase(erased, channels, height, width, torch.float32)
        places, channel = _places(erased.boxes, shape, self.order)
        noise = torch.cat([torch.empty(0), *erased.noise])
        colors = noise * self.std[channel] + self.mean[channel]
        return Change(erase, dict(places=places, colors=colors))


def _places(
    boxes: list[tuple[int, int, int, int, int]], shape: tuple[int, int, int], order: np.ndarray
) -> tuple[Tensor, Tensor]:
    """Compute the indices of erased pixels in the flattened images, and their channels."""
    channels, height, width = shape
    row, top, left, tall, wide = np.array(boxes, np.int64).reshape(-1, 5).T
    area = tall * wide
    sizes = channels * area
    row, top, left, wide, area, start = (
        np.repeat(each, sizes) for each in (row, top, left, wide, area, np.cumsum(sizes) - sizes)
    )
    channel, pixel = np.divmod(np.arange(len(start)) - start, area)
    down, right = np.divmod(pixel, wide)
    found = ((row * channels + order[channel]) * height + top + down) * width + left + right
    return torch.from_numpy(found), torch.from_numpy(channel)


def erase(images: Tensor, places: Tensor, colors: Tensor) -> Tensor:
    """Replace pixels of images by given values.

    Args:
        images (Tensor): Images (B, C, H, W).
        places (Tensor): int64 indices (N, ) into the flattened images.
        colors (Tensor): float32 values (N, ) to write.

    Returns:
        Tensor: float32 images (B, C, H, W).
    """
    images = images.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    images.view(-1)[places] = colors
    return images
