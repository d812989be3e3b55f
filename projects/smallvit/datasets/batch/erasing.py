"""Random erasing."""

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
    """Takes what timm writes into an image."""

    def __init__(self) -> None:
        self.written: list[tuple[slice, slice, np.ndarray]] = []

    def __setitem__(self, place: tuple[slice, slice, slice], noise: Tensor) -> None:
        self.written.append((place[1], place[2], noise.numpy()))


@form_of(RandomErasing)
class RandomErasingForm(BatchForm):
    """``smallvit.RandomErasing``, by the same draws.

    Args:
        transform (RandomErasing): The transform.
    """

    def __init__(self, transform: Any) -> None:
        super().__init__(transform)
        order = slice(None)
        if transform.channel_order == "bgr" and len(transform.mean) > 1:
            order = [2, 1, 0, *range(3, len(transform.mean))]
        self.mean = np.float32(transform.mean)[order, None, None]
        self.std = np.float32(transform.std)[order, None, None]
        self.order = order

    def draw(self, count: int, shape: tuple[int, int, int]) -> Change:
        """Draw for each image of a batch; see the parent."""
        channels, height, width = shape
        if channels != len(self.mean):
            raise DataError(
                f"RandomErasing: mean has {len(self.mean)} numbers, and the images have {channels} "
                "channels: give one number of mean and of std for each"
            )
        pixels = np.arange(channels * height * width).reshape(shape)
        places, colors = [np.empty(0, np.int64)], [np.empty(0, np.float32)]
        for row in range(count):
            if random.random() > self.transform.erase_prob:
                continue
            erased = _Erased()
            self.transform._erase._erase(erased, channels, height, width, torch.float32)
            for top, left, noise in erased.written:
                place = pixels[:, top, left]
                noise = np.broadcast_to(noise, place.shape)[self.order]
                places.append((place + row * pixels.size).ravel())
                colors.append((noise * self.std + self.mean).ravel())
        places, colors = (torch.from_numpy(np.concatenate(parts)) for parts in (places, colors))
        return Change(erase, dict(places=places, colors=colors))


def erase(images: Tensor, places: Tensor, colors: Tensor) -> Tensor:
    """Write values into images.

    Args:
        images (Tensor): (B, C, H, W).
        places (Tensor): Where, as indices into the flattened images, int64 (N, ).
        colors (Tensor): What, float32 (N, ).

    Returns:
        Tensor: The images as float32.
    """
    images = images.to(torch.float32, memory_format=torch.contiguous_format, copy=True)
    images.view(-1)[places] = colors
    return images
