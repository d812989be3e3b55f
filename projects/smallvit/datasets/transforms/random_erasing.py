"""Random erasing of timm in an OpenMMLab pipeline."""

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
#: Maximum number of channels of an image in OpenCV.
MOST_CHANNELS = 512


@TRANSFORMS.register_module()
class RandomErasing(BaseTransform):
    """Random erasing by timm, whose noise is normal after the normalization, and not clipped.

    MMPretrain's transform of this name keeps the noise within 0 and 255, which takes the
    standard deviation after the normalization from 1 to 0.97.

    Required key: ``img``, (H, W, C) or (H, W). It comes out as float32, erased or not, so that
    a batch has one type; noise may lie outside 0 to 255. It stands last before the sample is
    packed.

    Args:
        mean (Sequence[float]): Mean of the model's data preprocessor: red, green, blue; one
            number for each channel of other images.
        std (Sequence[float]): Its standard deviation.
        channel_order (str): Order of the colors in ``img``: "bgr" where LoadImageFromFile reads
            files, "rgb" in MMPretrain's CIFAR, and for bands (LoadImageBands).
        erase_prob (float): Probability that a rectangle is erased. Defaults to 0.25.
        mode (str): "pixel" draws each value, "rand" a color, "const" takes the mean. Defaults
            to "pixel".
        area_range (Sequence[float]): Least and largest share of the image that is erased.
            Defaults to (0.02, 1/3).
        aspect_range (Sequence[float]): Least and largest ratio of height to width. Defaults
            to (0.3, 10/3).

    Raises:
        UserError: If an argument is none of these.
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
            raise UserError(f"{owner}: mode={mode!r}; give one of {', '.join(MODES)}")
        if not 0 <= erase_prob <= 1:
            raise UserError(f"{owner}: erase_prob={erase_prob}; give a number from 0 to 1")
        for name, (low, high) in (("area_range", area_range), ("aspect_range", aspect_range)):
            if not 0 < low <= high:
                raise UserError(f"{owner}: {name}=({low}, {high}); give two numbers in order")
        self.mean, self.std = tuple(mean), tuple(std)
        self.channel_order = channel_order
        self.erase_prob = erase_prob
        self.mode = mode
        self.area_range, self.aspect_range = tuple(area_range), tuple(aspect_range)
        self._erase = timm.data.random_erasing.RandomErasing(
            1.0, *area_range, *aspect_range, mode=mode, device="cpu"
        )

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Erase a rectangle, or none.

        Args:
            results (dict): Sample with the key ``img``.

        Returns:
            dict: The sample, its ``img`` as float32.

        Raises:
            DataError: If the image has another number of channels than ``mean``.
        """
        shape = results["img"].shape
        image = results["img"].reshape(*shape[:2], -1).astype(np.float32)
        channels = image.shape[2]
        if channels != len(self.mean):
            raise DataError(
                f"{type(self).__name__}: mean has {len(self.mean)} numbers, and the image has "
                f"{channels} channels {shape}: give one number of mean and of std for each, or "
                "read images in color (LoadImageFromFile(color_type='color'))"
            )
        if random.random() <= self.erase_prob:
            # timm writes into a normalized image; what it wrote shows where there was no number.
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
