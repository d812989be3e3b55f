"""Color jitter with a configurable channel order."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from mmcv.transforms import BaseTransform
from PIL import Image, ImageEnhance

from smallvit.datasets.transforms.channels import on_any_channels
from smallvit.datasets.transforms.colors import check_image, check_order, to_array, to_pil
from smallvit.errors import UserError
from smallvit.registry import TRANSFORMS

_ENHANCERS = {
    "brightness": ImageEnhance.Brightness,
    "contrast": ImageEnhance.Contrast,
    "saturation": ImageEnhance.Color,
}


class Jitter(NamedTuple):
    """Color change sampled for an image.

    Args:
        name (str): "brightness", "contrast", "saturation" or "hue".
        factor (float): Factor, 1 for no change; for the hue, shift as a fraction of the hue
            circle, 0 for no change.
    """

    name: str
    factor: float


@TRANSFORMS.register_module()
class ColorJitter(BaseTransform):
    """Randomly change the brightness, contrast, saturation and hue of an image, in random order.

    The results are those of torchvision and timm with Pillow. MMPretrain's transform of the same
    name weights the channels as for BGR images, whatever the channel order.

    Required key: ``img``, uint8 (H, W, C) or (H, W). Shape and dtype do not change. With four or
    more channels, the first three are the colors; the others are transformed like grayscale
    images, with the same random parameters.

    Args:
        channel_order (str): Order of the colors in ``img``: "bgr" for images read by
            LoadImageFromFile, "rgb" for MMPretrain's CIFAR.
        brightness (float | Sequence[float]): Brightness jitter. The factor is sampled from
            [1 - brightness, 1 + brightness], or from the given range (min, max). Defaults to 0.
        contrast (float | Sequence[float]): Contrast jitter, as for ``brightness``. Defaults to 0.
        saturation (float | Sequence[float]): Saturation jitter, as for ``brightness``. Defaults
            to 0.
        hue (float | Sequence[float]): Hue jitter. The shift is sampled from [-hue, hue], or from
            the given range (min, max), as a fraction of the hue circle up to 0.5. Defaults to 0.

    Raises:
        UserError: If an argument is invalid.
    """

    def __init__(
        self,
        channel_order: str,
        brightness: float | Sequence[float] = 0.0,
        contrast: float | Sequence[float] = 0.0,
        saturation: float | Sequence[float] = 0.0,
        hue: float | Sequence[float] = 0.0,
    ) -> None:
        check_order(type(self).__name__, channel_order)
        self.channel_order = channel_order
        given = dict(brightness=brightness, contrast=contrast, saturation=saturation, hue=hue)
        self.ranges = {name: self._range(name, value) for name, value in given.items() if value}

    def _range(self, name: str, value: float | Sequence[float]) -> tuple[float, float]:
        center, low, high = (0.0, -0.5, 0.5) if name == "hue" else (1.0, 0.0, float("inf"))
        if isinstance(value, (int, float)):
            ends = max(low, center - value) if name != "hue" else -value, center + value
        else:
            ends = tuple(value)
        if len(ends) != 2 or not low <= ends[0] <= ends[1] <= high:
            raise UserError(
                f"{type(self).__name__}: expected {name} to be a number >= 0, or two numbers in "
                f"order{' from -0.5 to 0.5' if name == 'hue' else ''}, got {value!r}"
            )
        return ends

    def draw(self) -> list[Jitter]:
        """Sample the color changes for an image.

        Returns:
            list[Jitter]: Color changes in the order in which they are applied.
        """
        names = random.sample(list(self.ranges), len(self.ranges))
        return [Jitter(name, random.uniform(*self.ranges[name])) for name in names]

    @on_any_channels
    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Apply random color changes.

        Args:
            results (dict): Sample dict with the key ``img``.

        Returns:
            dict: Sample dict with ``img`` of the same shape and dtype.

        Raises:
            DataError: If the image is not uint8.
        """
        check_image(type(self).__name__, results["img"])
        image = to_pil(results["img"], self.channel_order)
        for name, factor in self.draw():
            if name == "hue":
                image = shift_hue(image, factor)
            else:
                image = _ENHANCERS[name](image).enhance(factor)
        results["img"] = to_array(image, self.channel_order)
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(channel_order={self.channel_order!r}, ranges={self.ranges})"


def shift_hue(image: Image.Image, part: float) -> Image.Image:
    """Shift the hue of an image.

    Args:
        image (Image.Image): RGB image.
        part (float): Fraction of the hue circle, -0.5 to 0.5.

    Returns:
        Image.Image: RGB image.
    """
    hue, saturation, value = image.convert("HSV").split()
    turned = (np.asarray(hue).astype(np.int16) + int(part * 255)) % 256
    hue = Image.fromarray(turned.astype(np.uint8))
    return Image.merge("HSV", (hue, saturation, value)).convert("RGB")
