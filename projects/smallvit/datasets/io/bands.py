"""Images of any number of bands, such as those of satellites and microscopes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from smallvit.datasets.io.stored_arrays import read_array
from smallvit.errors import DataError, UserError

#: Endings of the files that are read.
BAND_ENDINGS = (".npy", ".tif", ".tiff")
AXES = ("first", "last")
#: Percentiles of the values that are black and white in a picture.
DARKEST, BRIGHTEST = 2, 98


@dataclass(frozen=True)
class Bands:
    """Bands of each image of a dataset, and which of them are read.

    Args:
        channels (int): Bands of each file.
        chosen (tuple[int, ...], optional): Indices of the bands that are read, from 0, in this
            order. Defaults to None: all.
        axis (str, optional): Axis of the bands in an array: "first" for (C, H, W), "last" for
            (H, W, C). Defaults to None: the axis whose length is ``channels``.

    Raises:
        UserError: If a setting is out of range.
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
        """int: Number of bands that are read."""
        return self.channels if self.chosen is None else len(self.chosen)

    def step(self) -> dict[str, Any]:
        """Describe the transform that reads these bands.

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
        """Copy the settings with another axis.

        Args:
            axis (str, optional): "first" or "last", or None.

        Returns:
            Bands: The copy.
        """
        return replace(self, axis=axis)

    def decode(self, content: bytes, path: str) -> np.ndarray:
        """Decode the bands of a file.

        Args:
            content (bytes): Content of the file.
            path (str): Path of the file, for messages.

        Returns:
            np.ndarray: float32, (H, W, C), or (H, W) for one band.

        Raises:
            ImageError: If the file is damaged, or neither .npy nor TIFF.
            DataError: If it has another number of bands, the axis of the bands is ambiguous, or
                values are not finite.
            UserError: If a package that reads it is not installed.
        """
        return self.decode_with_axis(content, path)[0]

    def decode_with_axis(self, content: bytes, path: str) -> tuple[np.ndarray, str | None]:
        """Decode the bands of a file, as :meth:`decode`, and tell what the shape decided.

        Args:
            content (bytes): Content of the file.
            path (str): Path of the file, for messages.

        Returns:
            tuple[np.ndarray, str | None]: The image; and the axis of the bands where the shape of
            the array decides about it, None where the file does.
        """
        array, told = read_array(content, path)
        axis = told or self._axis_of(array, path)
        return self._chosen_of(array, axis, path), None if told else axis

    def of_array(self, array: Any, name: str = "the array") -> np.ndarray:
        """Take the bands of an array, as those of a file.

        Args:
            array (np.ndarray): (H, W, C) or (C, H, W), with all bands of a file.
            name (str): Name of the image, for messages. Defaults to "the array".

        Returns:
            np.ndarray: float32, (H, W, C), or (H, W) for one band.

        Raises:
            DataError: As :meth:`decode`.
            UserError: If it is no array.
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
        with np.errstate(over="ignore"):  # what is too large for float32 is infinite below
            image = np.ascontiguousarray(array, dtype=np.float32)
        _require_finite(image, self.chosen, path)
        return image[..., 0] if image.shape[-1] == 1 else image


def visible(image: np.ndarray) -> np.ndarray:
    """Convert bands to a picture: the first three as red, green and blue, each stretched.

    Args:
        image (np.ndarray): (H, W, C) or (H, W); of two bands the first is shown in gray.

    Returns:
        np.ndarray: uint8 (H, W, 3), BGR.
    """
    image = image[..., None] if image.ndim == 2 else image
    image = image[..., :3] if image.shape[-1] > 2 else np.repeat(image[..., :1], 3, -1)
    values = np.nan_to_num(image.astype(np.float32))
    low, high = np.percentile(values, (DARKEST, BRIGHTEST), axis=(0, 1))
    scaled = (values - low) * (255 / np.maximum(high - low, 1e-12))
    return np.ascontiguousarray(np.clip(scaled, 0, 255).astype(np.uint8)[..., ::-1])


def visible_file(content: bytes, path: str) -> np.ndarray:
    """Read a file of bands for display, whatever their number.

    Args:
        content (bytes): Content of the file.
        path (str): Path of the file, for messages.

    Returns:
        np.ndarray: uint8 (H, W, 3), BGR.

    Raises:
        ImageError: If the file is damaged.
        DataError: If it is no image.
    """
    array, axis = read_array(content, path)
    if array.ndim not in (2, 3):
        raise DataError(f"{path}: an array {array.shape} is no image")
    # An image has fewer bands than rows and columns.
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
