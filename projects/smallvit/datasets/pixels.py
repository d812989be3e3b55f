"""Conversion of images of any bit depth and number of channels to 8-bit color."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from mmcv.transforms import BaseTransform

from smallvit.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ToColor(BaseTransform):
    """Convert images to 8-bit BGR: rescale higher bit depths, composite transparent images on a
    background color, and repeat the channel of grayscale images.

    Use it after ``LoadImageFromFile`` with ``color_type='unchanged'``. Images in 8-bit color are
    not changed.

    Required and modified key: ``img`` of any numeric type, of shape (H, W), (H, W, 1), (H, W, 2),
    (H, W, 3) or (H, W, 4); converted to uint8 of shape (H, W, C).

    Args:
        max_value (float): Value mapped to 255 in images of more than 8 bits, such as 4095 for a
            12-bit camera. Larger values are clipped. Defaults to 65535.
        min_value (float): Value mapped to 0 in images of more than 8 bits. Defaults to 0.
        background (Sequence[int]): Background color for transparent pixels, in RGB order.
            Defaults to (255, 255, 255).
        channels (int): Number of output channels, 3 or 1 (grayscale). Defaults to 3.
    """

    def __init__(
        self,
        max_value: float = 65535,
        min_value: float = 0,
        background: Sequence[int] = (255, 255, 255),
        channels: int = 3,
    ) -> None:
        if not max_value > min_value:
            raise ValueError(
                f"ToColor: expected max_value > min_value, got max_value={max_value} and "
                f"min_value={min_value}"
            )
        if channels not in (1, 3):
            raise ValueError(f"ToColor: expected channels=1 or 3, got {channels}")
        self.max_value, self.min_value = max_value, min_value
        self.background, self.channels = tuple(background), channels

    def transform(self, results: dict) -> dict:
        """Convert the image of a sample.

        Args:
            results (dict): Sample dict with ``img``.

        Returns:
            dict: Sample dict with the converted ``img``.
        """
        image = results["img"]
        image = image[..., None] if image.ndim == 2 else image
        alpha = None
        if image.shape[-1] in (2, 4):
            full = np.iinfo(image.dtype).max if image.dtype.kind in "ui" else 1.0
            image, alpha = image[..., :-1], image[..., -1:].astype(np.float32) / full
        if image.dtype != np.uint8:
            span = self.max_value - self.min_value
            scaled = (image.astype(np.float32) - self.min_value) * (255 / span)
            image = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        if image.shape[-1] == 1 and (self.channels == 3 or alpha is not None):
            image = np.repeat(image, 3, axis=-1)
        if alpha is not None:
            behind = np.array(self.background[::-1], dtype=np.float32)
            image = np.rint(image * alpha + behind * (1 - alpha)).astype(np.uint8)
        if self.channels == 1 and image.shape[-1] == 3:
            image = np.rint(image @ np.array([0.114, 0.587, 0.299])).astype(np.uint8)[..., None]
        results["img"] = np.ascontiguousarray(image)
        return results

    def __repr__(self) -> str:
        return (
            f"{type(self).__name__}(max_value={self.max_value}, min_value={self.min_value}, "
            f"background={self.background}, channels={self.channels})"
        )
