"""Statistics of image sizes and channels of a dataset, from the headers of sampled images.

For multi-band images, all training images are read to compute the mean and standard deviation.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

import mmcv
import numpy as np
from PIL import Image

from smallvit.datasets.band_statistics import measure_bands
from smallvit.datasets.formats.folders import size_of_image
from smallvit.datasets.io.bands import Bands
from smallvit.datasets.io.headers import bits_of
from smallvit.datasets.io.images import full_value, refuse
from smallvit.errors import DataError, ImageError

#: Approximate number of images whose headers are read, of images decoded to check the alpha
#: channel, and of images decoded to check the bit depth.
LOOKED_AT, DECODED, DEEP = 200, 8, 40
GRAY = ("1", "L", "I", "F", "I;16", "I;16B", "I;16L")
ALPHA = ("RGBA", "RGBa")


@dataclass(frozen=True)
class Survey:
    """Typical size and channels of the images of a dataset.

    Args:
        channels (int): Number of channels: 1, 3 or 4, or the number of bands.
        short (int): Median of the shorter image sides, in pixels.
        long (int): Median of the longer image sides, in pixels.
        note (str): Message about the channels for the user.
        white (float, optional): White level of images with more than 8 bits per channel. Defaults
            to None: all images have 8 bits per channel.
        bands (Bands, optional): Band settings of multi-band images. Defaults to None: color or
            grayscale images.
        mean (tuple[float, ...]): Mean of each band. Defaults to (): color or grayscale images.
        std (tuple[float, ...]): Standard deviation of each band. Defaults to (): color or
            grayscale images.
    """

    channels: int
    short: int
    long: int
    note: str
    white: float | None = None
    bands: Bands | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()


def look_at(paths: Sequence[str]) -> Survey:
    """Collect size and channel statistics from a sample of images.

    Args:
        paths (Sequence[str]): Paths of the image files.

    Returns:
        Survey: Typical size and channels.

    Raises:
        DataError: If no sampled image can be read.
    """
    chosen = paths[:: max(1, len(paths) // LOOKED_AT)]
    sizes, modes = [], Counter()
    alphas: list[str] = []
    for path in chosen:
        size = size_of_image(path)
        if isinstance(size, str):
            continue
        sizes.append(size)
        mode = _mode(path)
        modes["gray" if mode in GRAY else "alpha" if mode in ALPHA else "color"] += 1
        alphas += [path] if mode in ALPHA else []
    if not sizes:
        text = f"none of {len(chosen)} sampled images can be read, e.g. {chosen[0]}"
        tiff = chosen[0].lower().endswith((".tif", ".tiff"))
        raise DataError(text + (". For images of bands, pass --channels N" * tiff))
    channels, note = _channels(modes, alphas)
    top = _deepest(chosen[:: max(1, len(chosen) // DEEP)])
    white = None if top is None else full_value(top)
    if white is not None:
        note += f"; more than 8 bits per channel (maximum in the sample: {top:g}), white={white:g}"
    if white is not None and channels == 4:
        channels, note = 3, f"{note}, transparent pixels become white: three channels"
    return Survey(channels, int(median(map(min, sizes))), int(median(map(max, sizes))), note, white)


def look_at_bands(paths: Sequence[str], bands: Bands) -> Survey:
    """Compute statistics of multi-band images by reading all training images.

    Args:
        paths (Sequence[str]): Paths of the training images.
        bands (Bands): Number of bands, selected bands and band axis.

    Returns:
        Survey: Image size, mean and standard deviation of each band, and the band settings with the
        detected band axis.

    Raises:
        DataError: See :func:`smallvit.datasets.band_statistics.measure_bands`.
        UserError: If a package that is required to read the files is not installed.
    """
    found = measure_bands(paths, bands)
    one = bands.count == 1
    of = "" if bands.chosen is None else f" of {bands.channels} (numbers {_listed(bands.chosen)})"
    note = (
        f"{bands.count} band{'s'[: not one]}{of}: mean and standard deviation of "
        f"{found.images} training images"
    )
    if found.damaged:
        note += f", and {found.damaged} that cannot be read"
    return Survey(
        bands.count,
        found.short,
        found.long,
        note,
        bands=bands.along(bands.axis or found.axis),
        mean=found.mean,
        std=found.std,
    )


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))


def _deepest(paths: Sequence[str]) -> float | None:
    """Get the maximum value of images with more than 8 bits per channel; None if there are none."""
    tops = []
    for path in paths:
        try:
            with open(path, "rb") as file:
                content = file.read()
            refuse(content, path)
        except (OSError, ImageError):
            continue  # reported when the image is loaded
        if bits_of(content) > 8:
            image = mmcv.imfrombytes(content, flag="unchanged", backend="cv2")
            tops += [float(image.max())] if image is not None and image.dtype != np.uint8 else []
    return max(tops, default=None)


def _mode(path: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with Image.open(path) as image:
            return image.mode


def _channels(modes: Counter, alphas: Sequence[str]) -> tuple[int, str]:
    if set(modes) == {"gray"}:
        return 1, "gray images: one channel"
    if set(modes) == {"alpha"}:
        if any(_is_transparent(path) for path in alphas[:: max(1, len(alphas) // DECODED)]):
            return 4, "images with alpha: four channels"
        return 3, "constant alpha: three channels are read"
    if len(modes) > 1:
        mixed = ", ".join(f"{number} {kind}" for kind, number in sorted(modes.items()))
        return 3, f"mixed images (sample: {mixed}): all are read with three channels"
    return 3, "color images: three channels"


def _is_transparent(path: str) -> bool:
    with Image.open(path) as image:
        low, high = image.getchannel("A").getextrema()
    return bool(np.not_equal(low, high))
