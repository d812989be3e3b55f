"""Color operations on uint8 RGB or BGR images, with the same results as Pillow."""

from __future__ import annotations

import torch
from torch import Tensor

#: Weights of red, green and blue for the conversion to grayscale, in units of 1 / 65,536.
_GRAY = (19595, 38470, 7471)


def gray(images: Tensor, order: str) -> Tensor:
    """Convert images to grayscale.

    Args:
        images (Tensor): uint8 images (B, 3, H, W).
        order (str): Channel order, "rgb" or "bgr".

    Returns:
        Tensor: int32 gray values (B, H, W) from 0 to 255.
    """
    red, green, blue = images.int().unbind(1)[:: 1 if order == "rgb" else -1]
    return (red * _GRAY[0] + green * _GRAY[1] + blue * _GRAY[2] + 0x8000) >> 16


def blend(start: Tensor, images: Tensor, factors: Tensor) -> Tensor:
    """Interpolate or extrapolate linearly between two images.

    Args:
        start (Tensor): Result for a factor of 0, (B, C or 1, H or 1, W or 1).
        images (Tensor): Result for a factor of 1, uint8 (B, C, H, W).
        factors (Tensor): float32 interpolation factors (B, ).

    Returns:
        Tensor: uint8 images (B, C, H, W).
    """
    start = start.float()
    mixed = start + factors[:, None, None, None] * (images.float() - start)
    return mixed.clamp_(0, 255).to(torch.uint8)


def look_up(images: Tensor, tables: Tensor) -> Tensor:
    """Apply lookup tables to images.

    Args:
        images (Tensor): uint8 images (B, C, H, W).
        tables (Tensor): uint8 lookup tables (B, C or 1, 256).

    Returns:
        Tensor: uint8 images (B, C, H, W).
    """
    count, channels = images.shape[:2]
    if tables.shape[1] == 1:  # the same table for all channels
        return tables[:, 0].gather(1, images.flatten(1).long()).view_as(images)
    found = tables.view(count * channels, 256)
    return found.gather(1, images.reshape(count * channels, -1).long()).view_as(images)


def saturation(images: Tensor, factors: Tensor, order: str) -> Tensor:
    """Adjust the saturation by blending with the grayscale image.

    Args:
        images (Tensor): uint8 images (B, 3, H, W).
        factors (Tensor): float32 factors (B, ); 0 is grayscale, 1 is no change.
        order (str): Channel order, "rgb" or "bgr".

    Returns:
        Tensor: uint8 images (B, 3, H, W).
    """
    return blend(gray(images, order)[:, None], images, factors)


def contrast(images: Tensor, factors: Tensor, order: str) -> Tensor:
    """Adjust the contrast by blending with the mean gray value; see :func:`saturation`."""
    means = gray(images, order).flatten(1).double().mean(1)
    return blend((means + 0.5).floor()[:, None, None, None], images, factors)


def brightness(images: Tensor, factors: Tensor, order: str = "rgb") -> Tensor:
    """Adjust the brightness by blending with black; see :func:`saturation`."""
    return blend(images.new_zeros(1, 1, 1, 1), images, factors)


def sharpness(images: Tensor, factors: Tensor, order: str = "rgb") -> Tensor:
    """Adjust the sharpness by blending with a smoothed image; see :func:`saturation`.

    The border pixels are not smoothed.
    """
    values = images.int()
    smooth = values.clone()
    if min(values.shape[2:]) > 2:
        columns = values[..., :-2] + values[..., 1:-1] + values[..., 2:]
        total = columns[:, :, :-2] + columns[:, :, 1:-1] + columns[:, :, 2:]
        total += 4 * values[:, :, 1:-1, 1:-1]
        smooth[:, :, 1:-1, 1:-1] = (2 * total + 13).div_(26, rounding_mode="floor")
    return blend(smooth, images, factors)


def auto_contrast(images: Tensor, order: str = "rgb") -> Tensor:
    """Maximize the contrast of each channel to the range 0 to 255; see :func:`saturation`."""
    flat = images.flatten(2)
    low, high = flat.amin(2).double(), flat.amax(2).double()
    same = high <= low
    # Dividing a scalar by a tensor multiplies by the reciprocal, which rounds differently.
    scale = torch.full_like(high, 255.0) / (high - low).masked_fill(same, 1)
    values = torch.arange(256, device=images.device)
    tables = (values.double() * scale[..., None] + (-low * scale)[..., None]).trunc()
    tables = torch.where(same[..., None], values, tables.clamp(0, 255))
    return look_up(images, tables.to(torch.uint8))


def equalize(images: Tensor, order: str = "rgb") -> Tensor:
    """Equalize the histogram of each channel; see :func:`saturation`."""
    count, channels, height, width = images.shape
    flat = images.reshape(count * channels, height * width).long()
    counts = flat.new_zeros(count * channels, 256)
    counts.scatter_add_(1, flat, torch.ones_like(flat))
    highest = counts.gather(1, flat.amax(1, keepdim=True))
    steps = (height * width - highest).div(255, rounding_mode="floor")
    below = counts.cumsum(1) - counts
    tables = (steps.div(2, rounding_mode="floor") + below).div(
        steps.clamp(min=1), rounding_mode="floor"
    )
    values = torch.arange(256, device=images.device)
    tables = torch.where(steps < 1, values, tables.clamp(0, 255))
    return tables.gather(1, flat).to(torch.uint8).view_as(images)


def hue(images: Tensor, factors: Tensor, order: str) -> Tensor:
    """Shift the hue of images.

    Args:
        images (Tensor): uint8 images (B, 3, H, W).
        factors (Tensor): float32 shifts (B, ) as fractions of the hue circle, -0.5 to 0.5.
        order (str): Channel order, "rgb" or "bgr".

    Returns:
        Tensor: uint8 images (B, 3, H, W).
    """
    step = 1 if order == "rgb" else -1
    hues, saturation, value = _to_hsv(*images.float().unbind(1)[::step])
    turned = (hues + (factors * 255).trunc()[:, None, None]).remainder(256)
    return torch.stack(_from_hsv(turned, saturation, value)[::step], 1).to(torch.uint8)


def _to_hsv(red: Tensor, green: Tensor, blue: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Convert RGB to HSV, with integer values from 0 to 255 as float32."""
    highest = torch.maximum(torch.maximum(red, green), blue)
    lowest = torch.minimum(torch.minimum(red, green), blue)
    spread = highest - lowest
    gray = spread == 0
    divisor = spread.masked_fill(gray, 1)
    r, g, b = ((highest - each) / divisor for each in (red, green, blue))
    sector = torch.where(green == highest, 2.0 + r.double() - b, 4.0 + g.double() - r).float()
    sector = torch.where(red == highest, b - g, sector).double()
    hues = (sector / 6 + 1).fmod(1).float()
    hues = (hues.double() * 255).trunc().clamp(0, 255).masked_fill(gray, 0).float()
    parts = spread / highest.masked_fill(highest == 0, 1)
    return hues, (parts.double() * 255).trunc().float(), highest


def _from_hsv(hues: Tensor, saturation: Tensor, value: Tensor) -> list[Tensor]:
    place = hues * 6 / 255
    sector = place.floor()
    part, strength = place - sector, saturation / 255
    low, falling, rising = (
        (value * (1 - strength * each) + 0.5).floor()
        for each in (torch.ones_like(part), part, 1 - part)
    )
    sectors = (sector.long() % 6)[None]
    choices = (
        (value, falling, low, low, rising, value),
        (rising, value, value, falling, low, low),
        (low, low, rising, value, value, falling),
    )
    return [torch.stack(choice).gather(0, sectors)[0] for choice in choices]
