"""Single-pass computation of the mean and standard deviation of each image band."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import mmengine.fileio as fileio
import numpy as np

from smallvit.datasets.io.bands import Bands
from smallvit.datasets.io.parallel import read_all
from smallvit.errors import DataError, ImageError, SmallvitError
from smallvit.utils.text import shorten

#: Number of images below which a single process is used, and maximum number of processes.
FEW, MOST_WORKERS = 64, 4
#: Maximum mean or standard deviation. Up to about this value, float32 represents integers exactly.
LARGEST = 1e7
#: Number of significant digits of the statistics.
DIGITS = 6


@dataclass(frozen=True)
class BandStatistics:
    """Statistics of the bands of a dataset.

    Args:
        mean (tuple[float, ...]): Mean of each band over all pixels.
        std (tuple[float, ...]): Standard deviation of each band over all pixels.
        images (int): Number of images measured.
        damaged (int): Number of images that could not be read.
        short (int): Median length of the shorter image side, in pixels.
        long (int): Median length of the longer image side, in pixels.
        axis (str, optional): Axis of the bands in the arrays, "first" or "last"; None if the file
            format defines it, or if the files differ.
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]
    images: int
    damaged: int
    short: int
    long: int
    axis: str | None


@dataclass(frozen=True)
class _Moments:
    """Number of pixels, and mean and sum of squared deviations of each band."""

    pixels: int
    mean: np.ndarray
    squares: np.ndarray
    shape: tuple[int, int] = (0, 0)
    axis: str | None = None

    def plus(self, other: _Moments) -> _Moments:
        """Combine two sets of pixels in a numerically stable way."""
        pixels = self.pixels + other.pixels
        shift = other.mean - self.mean
        mean = self.mean + shift * (other.pixels / pixels)
        between = shift**2 * (self.pixels * other.pixels / pixels)
        return _Moments(pixels, mean, self.squares + other.squares + between)


class _Images:
    """Sequence of images, read and measured on access. Errors are returned, not raised."""

    def __init__(self, paths: Sequence[str], bands: Bands) -> None:
        self.paths, self.bands = paths, bands

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> _Moments | SmallvitError:
        path = self.paths[index]
        try:
            image, axis = self.bands.decode_with_axis(fileio.get(path), path)
        except OSError as error:
            return ImageError(f"{path}: {error.strerror or error}")
        except SmallvitError as error:
            return error
        pixels = image.reshape(-1, self.bands.count).astype(np.float64)
        mean = pixels.mean(axis=0)
        squares = ((pixels - mean) ** 2).sum(axis=0)
        return _Moments(len(pixels), mean, squares, image.shape[:2], axis)


def measure_bands(paths: Sequence[str], bands: Bands) -> BandStatistics:
    """Compute band statistics over a set of images.

    Results are accumulated in the order of ``paths``, so they do not depend on the number of
    processes. Damaged files are skipped.

    Args:
        paths (Sequence[str]): Paths of the image files.
        bands (Bands): Bands to read.

    Returns:
        BandStatistics: Mean and standard deviation of each band, and typical image size.

    Raises:
        DataError: If no image can be read, a file does not have the requested bands, or a band is
            constant over all images.
        UserError: If a package required to read the files is not installed.
    """
    workers = 0 if len(paths) < FEW else min(MOST_WORKERS, os.cpu_count() or 1)
    total: _Moments | None = None
    shapes: list[tuple[int, int]] = []
    axes: set[str] = set()
    errors: list[SmallvitError] = []
    for items in read_all(_Images(paths, bands), workers):
        for found in items:
            if isinstance(found, SmallvitError):
                errors.append(found)
                continue
            shapes.append(found.shape)
            axes |= {found.axis} - {None}
            total = found if total is None else total.plus(found)
    _raise_first(errors, total)
    std = np.sqrt(total.squares / total.pixels)
    _require_varied(bands, total.mean, std)
    _require_exact(total.mean, std)
    return BandStatistics(
        tuple(map(_rounded, total.mean)),
        tuple(map(_rounded, std)),
        len(shapes),
        len(errors),
        int(median(map(min, shapes))),
        int(median(map(max, shapes))),
        axes.pop() if len(axes) == 1 else None,
    )


def _raise_first(errors: Sequence[SmallvitError], total: _Moments | None) -> None:
    for error in errors:
        if not isinstance(error, (DataError, ImageError)):
            raise error  # for example a missing package
    wrong = [str(error) for error in errors if isinstance(error, DataError)]
    if wrong:
        raise DataError(shorten(wrong))
    if total is None:
        raise DataError(shorten(["no image can be read", *map(str, errors)]))


def _require_varied(bands: Bands, mean: np.ndarray, std: np.ndarray) -> None:
    numbers = range(bands.count) if bands.chosen is None else bands.chosen
    same = [
        f"band {number} is {value:g} everywhere"
        for number, value, deviation in zip(numbers, mean, std, strict=True)
        if not deviation > 0
    ]
    if same:
        raise DataError(
            f"{', '.join(same)} in all training images and carries no information. Select the "
            "other bands (--bands)"
        )


def _require_exact(mean: np.ndarray, std: np.ndarray) -> None:
    largest = max(np.abs(mean).max(), std.max())
    if largest > LARGEST:
        raise DataError(
            f"bands have values around {largest:.3g}, which float32 does not represent exactly. "
            "Divide them, or subtract a common offset, before saving them"
        )


def _rounded(value: Any) -> float:
    return float(f"{value:.{DIGITS}g}")
