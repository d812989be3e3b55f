"""Random erasing from timm for OpenMMLab pipelines."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import timm.data.random_erasing
import torch
from mmcv.transforms import BaseTransform

from smallvit.datasets.transforms.colors import check_colors, check_order
from smallvit.errors import DataError, UserError
from smallvit.registry import TRANSFORMS

MODES = ("pixel", "rand", "const")
#: Maximum number of channels of an image supported by OpenCV.
MOST_CHANNELS = 512


@TRANSFORMS.register_module()
class RandomErasing(BaseTransform):
    """Erase a random rectangle with timm's unclipped noise, which is normal after normalization.

    MMPretrain's transform of the same name clips the noise to 0 and 255, which reduces its
    standard deviation after normalization from 1 to 0.97.

    Required key: ``img``, (H, W, C) or (H, W). The output is always float32, so that the images of
    a batch have the same dtype; noise may be outside of 0 to 255. Use it as the last transform
    before packing.

    Args:
        mean (Sequence[float]): Mean of the model's data preprocessor in the order red, green, blue;
            one number per channel for other images.
        std (Sequence[float]): Standard deviation of the data preprocessor, in the same order.
        channel_order (str): Order of the colors in ``img``: "bgr" for images read by
            LoadImageFromFile, "rgb" for MMPretrain's CIFAR and for bands (LoadImageBands).
        erase_prob (float): Probability of erasing a rectangle. Defaults to 0.25.
        mode (str): "pixel" for random values, "rand" for a random color, "const" for the mean.
            Defaults to "pixel".
        area_range (Sequence[float]): Minimum and maximum erased area, as a fraction of the image.
            Defaults to (0.02, 1/3).
        aspect_range (Sequence[float]): Minimum and maximum ratio of height to width. Defaults
            to (0.3, 10/3).

    Raises:
        UserError: If an argument is invalid.
    """

    def __init__(
        self,
        mean: Sequence[float],
        std: Sequence[float],
        channel_order: str,
        erase_prob: float = 0.25,
        mode: str = "pixel",
        area_range: Sequence[float] = (0.02, 1 / 3),
        aspect_range: Sequence[float] = (0.3, 10 / 3),
    ) -> None:
        owner = type(self).__name__
        check_order(owner, channel_order)
        check_colors(owner, "mean", mean, range(1, MOST_CHANNELS + 1))
        check_colors(owner, "std", std, (len(mean),))
        if mode not in MODES:
            raise UserError(f"{owner}: expected mode to be one of {', '.join(MODES)}, got {mode!r}")
        if not 0 <= erase_prob <= 1:
            raise UserError(f"{owner}: expected erase_prob from 0 to 1, got {erase_prob}")
        for name, (low, high) in (("area_range", area_range), ("aspect_range", aspect_range)):
            if not 0 < low <= high:
                raise UserError(f"{owner}: expected 0 < low <= high, got {name}=({low}, {high})")
        self.mean, self.std = tuple(mean), tuple(std)
        self.channel_order = channel_order
        self.erase_prob = erase_prob
        self.mode = mode
        self.area_range, self.aspect_range = tuple(area_range), tuple(aspect_range)
        self._erase = timm.data.random_erasing.RandomErasing(
            1.0, *area_range, *aspect_range, mode=mode, device="cpu"
        )

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Erase a rectangle with the probability ``erase_prob``.

        Args:
            results (dict): Sample dict with the key ``img``.

        Returns:
            dict: Sample dict with ``img`` as float32.

        Raises:
            DataError: If the number of channels does not match ``mean``.
        """
        shape = results["img"].shape
        image = results["img"].reshape(*shape[:2], -1).astype(np.float32)
        channels = image.shape[2]
        if channels != len(self.mean):
            raise DataError(
                f"{type(self).__name__}: expected {len(self.mean)} channels as in mean, got "
                f"{channels} in an image of shape {shape}. Set one value of mean and std per "
                "channel, or set color_type='color' in LoadImageFromFile"
            )
        if random.random() <= self.erase_prob:
            # timm expects a normalized image; NaN marks the pixels that it did not erase.
            noise = torch.full((channels, *shape[:2]), torch.nan)
            noise = self._erase(noise).permute(1, 2, 0).numpy()
            colors = noise * np.float32(self.std) + np.float32(self.mean)
            if self.channel_order == "bgr" and channels > 1:
                colors = np.concatenate([colors[..., 2::-1], colors[..., 3:]], -1)
            np.copyto(image, colors, where=~np.isnan(colors))
        results["img"] = image.reshape(shape)
        return results

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(erase_prob={self.erase_prob}, mode={self.mode!r}, "
            f"mean={self.mean}, std={self.std}, channel_order={self.channel_order!r}, "
            f"area_range={self.area_range}, aspect_range={self.aspect_range})"
        )
