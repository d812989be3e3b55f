"""Multi-band images with any number of channels, e.g. from satellites or microscopes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from smallvit.datasets.io.stored_arrays import read_array
from smallvit.errors import DataError, UserError

#: File name extensions of multi-band images.
BAND_ENDINGS = (".npy", ".tif", ".tiff")
AXES = ("first", "last")
#: Percentiles of the values that are displayed as black and as white.
DARKEST, BRIGHTEST = 2, 98


@dataclass(frozen=True)
class Bands:
    """Number of bands per image, band selection and band axis of a multi-band dataset.

    Args:
        channels (int): Number of bands per file.
        chosen (tuple[int, ...], optional): Zero-based indices of the bands to read, in this order.
            Defaults to None: all bands.
        axis (str, optional): Band axis of an array: "first" for (C, H, W), "last" for (H, W, C).
            Defaults to None: the axis whose length is ``channels``.

    Raises:
        UserError: If an argument is invalid.
    """

    channels: int
    chosen: tuple[int, ...] | None = None
    axis: str | None = None

    def __post_init__(self) -> None:
        if not _is_whole(self.channels) or self.channels < 1:
            raise UserError(f"channels={self.channels!r}: give the number of bands of a file")
        if self.axis not in (None, *AXES):
            raise UserError(
                f"band_axis={self.axis!r}: give 'first' for arrays (C, H, W), 'last' for (H, W, C)"
            )
        for number in self.chosen or ():
            if not _is_whole(number) or not 0 <= number < self.channels:
                raise UserError(
                    f"band {number!r}: files of {self.channels} bands have bands 0 to "
                    f"{self.channels - 1}"
                )
        if self.chosen is not None and len(set(self.chosen)) != max(1, len(self.chosen)):
            raise UserError(f"bands {list(self.chosen)}: expected one or more distinct bands")
        if self.count > _most_channels():
            raise UserError(
                f"{self.count} bands: OpenCV, which resizes the images, supports at most "
                f"{_most_channels()}; select some of them (--bands, bands= in a config)"
            )

    @property
    def count(self) -> int:
        """int: Number of selected bands."""
        return self.channels if self.chosen is None else len(self.chosen)

    def step(self) -> dict[str, Any]:
        """Build the config of the loading transform.

        Returns:
            dict: Config of :class:`smallvit.datasets.LoadImageBands`.
        """
        settings: dict[str, Any] = {"type": "smallvit.LoadImageBands", "channels": self.channels}
        if self.chosen is not None:
            settings["bands"] = list(self.chosen)
        if self.axis is not None:
            settings["band_axis"] = self.axis
        return settings

    def along(self, axis: str | None) -> Bands:
        """Create a copy with another band axis.

        Args:
            axis (str, optional): "first" or "last"; None to infer it from the shape.

        Returns:
            Bands: Copy with the given axis.
        """
        return replace(self, axis=axis)

    def decode(self, content: bytes, path: str) -> np.ndarray:
        """Decode the selected bands of a file.

        Args:
            content (bytes): Encoded .npy or TIFF file.
            path (str): Path of the file, for error messages.

        Returns:
            np.ndarray: float32 image (H, W, C), or (H, W) for a single band.

        Raises:
            ImageError: If the file is damaged, or neither .npy nor TIFF.
            DataError: If the number of bands is not ``channels``, the band axis is ambiguous, or
                a value is not finite.
            UserError: If a package that is required to read the file is not installed.
        """
        return self.decode_with_axis(content, path)[0]

    def decode_with_axis(self, content: bytes, path: str) -> tuple[np.ndarray, str | None]:
        """Decode the selected bands of a file, and return the inferred band axis.

        Args:
            content (bytes): Encoded .npy or TIFF file.
            path (str): Path of the file, for error messages.

        Returns:
            tuple[np.ndarray, str | None]: Image as in :meth:`decode`, and the band axis as set or
            inferred from the shape; None if the file metadata defines it.
        """
        array, told = read_array(content, path)
        axis = told or self._axis_of(array, path)
        return self._chosen_of(array, axis, path), None if told else axis

    def of_array(self, array: Any, name: str = "the array") -> np.ndarray:
        """Select the bands of an array, as :meth:`decode` does for a file.

        Args:
            array (np.ndarray): Image (H, W, C) or (C, H, W) with all ``channels`` bands.
            name (str): Name of the image, for error messages. Defaults to "the array".

        Returns:
            np.ndarray: float32 image (H, W, C), or (H, W) for a single band.

        Raises:
            DataError: See :meth:`decode`.
            UserError: If ``array`` is not a numpy array.
        """
        if not isinstance(array, np.ndarray):
            raise UserError(
                f"expected the path of a .npy or TIFF file, or an array (H, W, C) or (C, H, W) "
                f"with {self.channels} bands, got {type(array).__name__}"
            )
        return self._chosen_of(array, self._axis_of(array, name), name)

    def _axis_of(self, array: np.ndarray, path: str) -> str:
        shape = array.shape
        if array.ndim == 2 and self.channels == 1:
            return "last"
        if array.ndim != 3:
            raise DataError(
                f"{path}: expected an array (H, W, {self.channels}) or ({self.channels}, H, W), "
                f"got shape {shape}; save one image per file"
            )
        if self.axis is not None:
            return self.axis
        places = [axis for axis, at in (("first", 0), ("last", 2)) if shape[at] == self.channels]
        if len(places) == 1:
            return places[0]
        if places:
            raise DataError(
                f"{path}: the first and the last axis of an array of shape {shape} could both be "
                f"the {self.channels} bands; set --band-axis first or last (band_axis= in a config)"
            )
        raise DataError(self._wrong_number(path, shape))

    def _wrong_number(self, path: str, shape: tuple[int, ...]) -> str:
        number = {"first": shape[0], "last": shape[-1], None: min(shape[0], shape[-1])}[self.axis]
        return (
            f"{path}: expected {self.channels} bands, got an array of shape {shape}; all files "
            f"must have the same number of bands (--channels {number}; channels= in a config)"
        )

    def _chosen_of(self, array: np.ndarray, axis: str, path: str) -> np.ndarray:
        array = array[..., None] if array.ndim == 2 else array
        array = np.moveaxis(array, 0, -1) if axis == "first" else array
        if array.shape[-1] != self.channels:
            raise DataError(
                f"{path}: expected {self.channels} bands, got {array.shape[-1]}; all files must "
                f"have the same number of bands (--channels {array.shape[-1]})"
            )
        if self.chosen is not None:
            array = array[..., list(self.chosen)]
        with np.errstate(over="ignore"):  # values that overflow float32 become infinite
            image = np.ascontiguousarray(array, dtype=np.float32)
        _require_finite(image, self.chosen, path)
        return image[..., 0] if image.shape[-1] == 1 else image


def visible(image: np.ndarray) -> np.ndarray:
    """Convert a multi-band image to a BGR image for display.

    The first three bands become red, green and blue, each with contrast stretching. Of images with
    one or two bands, the first band is shown in grayscale.

    Args:
        image (np.ndarray): Image (H, W, C) or (H, W).

    Returns:
        np.ndarray: uint8 BGR image (H, W, 3).
    """
    image = image[..., None] if image.ndim == 2 else image
    image = image[..., :3] if image.shape[-1] > 2 else np.repeat(image[..., :1], 3, -1)
    values = np.nan_to_num(image.astype(np.float32))
    low, high = np.percentile(values, (DARKEST, BRIGHTEST), axis=(0, 1))
    scaled = (values - low) * (255 / np.maximum(high - low, 1e-12))
    return np.ascontiguousarray(np.clip(scaled, 0, 255).astype(np.uint8)[..., ::-1])


def visible_file(content: bytes, path: str) -> np.ndarray:
    """Decode a multi-band image with any number of bands for display.

    Args:
        content (bytes): Encoded .npy or TIFF file.
        path (str): Path of the file, for error messages.

    Returns:
        np.ndarray: uint8 BGR image (H, W, 3).

    Raises:
        ImageError: If the file is damaged, or neither .npy nor TIFF.
        DataError: If the array is not an image.
    """
    array, axis = read_array(content, path)
    if array.ndim not in (2, 3):
        raise DataError(f"{path}: an array {array.shape} is no image")
    # Assumes fewer bands than rows and columns.
    first = axis == "first" or (axis is None and array.shape[0] < array.shape[-1])
    return visible(np.moveaxis(array, 0, -1) if first and array.ndim == 3 else array)


def _require_finite(image: np.ndarray, chosen: tuple[int, ...] | None, path: str) -> None:
    wrong = ~np.isfinite(image)
    if not wrong.any():
        return
    place = int(wrong.any(axis=(0, 1)).argmax())
    band = place if chosen is None else chosen[place]
    raise DataError(
        f"{path}: {int(wrong[..., place].sum())} values of band {band} are NaN or infinite: fill "
        "them in the file (numpy.nan_to_num), leave the band out (--bands), or the file"
    )


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _most_channels() -> int:
    import cv2

    return 128 if int(cv2.__version__.partition(".")[0]) >= 5 else 512
