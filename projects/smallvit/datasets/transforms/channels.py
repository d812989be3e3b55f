"""Support for any number of channels in transforms for three-channel images."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from functools import wraps
from typing import Any

import numpy as np

Transform = Callable[[Any, dict], dict]


def on_any_channels(transform: Transform, gray_alone: bool = False) -> Transform:
    """Extend the ``transform`` method of a class to images with any number of channels.

    A grayscale image is expanded to three equal channels. With four or more channels, the first
    three are transformed as colors and each of the others as a grayscale image, with the same
    random parameters. Three-channel images are passed to the method unchanged.

    Args:
        transform (Callable): Method to extend. It is called several times for four or more
            channels, and should only modify ``img``.
        gray_alone (bool): Whether to extend the method only to single-channel images. Defaults to
            False.

    Returns:
        Callable: Method for any number of channels.
    """

    @wraps(transform)
    def transform_parts(self: Any, results: dict) -> dict:
        image = results.get("img")
        count = _count(image)
        if count in (0, 3) or (gray_alone and count > 1):
            return transform(self, results)
        draws = random.getstate(), np.random.get_state()
        changed, parts = results, []
        for part, width in reversed(list(_parts(image))):  # keeps the sample dict of the first part
            random.setstate(draws[0]), np.random.set_state(draws[1])
            changed = transform(self, {**results, "img": part})
            parts.insert(0, _as_channels(changed["img"])[..., :width])
        joined = np.concatenate(parts, -1)
        changed["img"] = joined[..., 0] if image.ndim == 2 else joined
        return changed

    return transform_parts


def _count(image: Any) -> int:
    """Get the number of channels of an image; 0 for other values."""
    if not isinstance(image, np.ndarray) or image.ndim not in (2, 3):
        return 0
    return image.shape[2] if image.ndim == 3 else 1


def _as_channels(image: np.ndarray) -> np.ndarray:
    return image[..., None] if image.ndim == 2 else image


def _parts(image: np.ndarray) -> Iterator[tuple[np.ndarray, int]]:
    """Yield three-channel images, and the number of original channels in each."""
    image = _as_channels(image)
    colors = 3 if image.shape[2] > 3 else 0
    if colors:
        yield np.ascontiguousarray(image[..., :3]), 3
    for channel in range(colors, image.shape[2]):
        yield np.repeat(image[..., channel : channel + 1], 3, -1), 1
