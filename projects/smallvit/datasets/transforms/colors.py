"""Channel order checks, and conversions between arrays and Pillow images."""

from __future__ import annotations

from collections.abc import Sequence

import mmcv
import numpy as np
from PIL import Image

from smallvit.errors import DataError, UserError

ORDERS = ("rgb", "bgr")


def check_order(owner: str, channel_order: str) -> None:
    """Check that a channel order is valid.

    Args:
        owner (str): Name of the transform, for the error message.
        channel_order (str): Channel order to check.

    Raises:
        UserError: If the channel order is neither "rgb" nor "bgr".
    """
    if channel_order not in ORDERS:
        raise UserError(
            f"{owner}: expected channel_order to be 'bgr' (images read by LoadImageFromFile) or "
            f"'rgb' (MMPretrain's CIFAR and color_type='color_rgb'), got {channel_order!r}"
        )


def check_colors(
    owner: str, name: str, values: Sequence[float], counts: Sequence[int] = (3,)
) -> None:
    """Check that an argument has one value per channel.

    Args:
        owner (str): Name of the transform, for the error message.
        name (str): Name of the argument.
        values (Sequence[float]): Values of the argument.
        counts (Sequence[int]): Allowed numbers of channels. Defaults to (3,).

    Raises:
        UserError: If the number of values is not in ``counts``.
    """
    if not isinstance(values, Sequence) or len(values) not in counts:
        others = ", or one for each channel of other images" if len(counts) > 1 else ""
        raise UserError(
            f"{owner}: expected three numbers in {name}, for red, green and blue{others}, got "
            f"{values!r}"
        )


def check_image(owner: str, image: np.ndarray) -> None:
    """Check that an image has three channels of dtype uint8.

    Args:
        owner (str): Name of the transform, for the error message.
        image (np.ndarray): Image to check.

    Raises:
        DataError: If the image is not uint8 of shape (H, W, 3).
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise DataError(
            f"{owner}: expected uint8 images of shape (H, W, 3), got {image.dtype} and "
            f"{image.shape}. Move it before transforms that change the dtype"
        )


def to_pil(image: np.ndarray, channel_order: str) -> Image.Image:
    """Convert an array to a Pillow RGB image.

    Args:
        image (np.ndarray): uint8 image (H, W, 3).
        channel_order (str): Channel order of ``image``, "rgb" or "bgr".

    Returns:
        Image.Image: RGB image.
    """
    return Image.fromarray(image if channel_order == "rgb" else mmcv.bgr2rgb(image))


def to_array(image: Image.Image, channel_order: str) -> np.ndarray:
    """Convert a Pillow RGB image to an array; the inverse of :func:`to_pil`.

    Args:
        image (Image.Image): RGB image.
        channel_order (str): Channel order of the output, "rgb" or "bgr".

    Returns:
        np.ndarray: Writable uint8 image (H, W, 3).
    """
    return np.array(image) if channel_order == "rgb" else mmcv.rgb2bgr(np.asarray(image))
