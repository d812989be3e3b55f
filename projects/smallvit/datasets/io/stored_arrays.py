"""Decoding of multi-band arrays from .npy and TIFF files."""

from __future__ import annotations

import io
import math

import numpy as np

from smallvit.datasets.io.headers import TIFF_STARTS
from smallvit.datasets.io.limits import VARIABLE, max_pixels
from smallvit.errors import DataError, ImageError, UserError

NPY_START = b"\x93NUMPY"
#: TIFF axes that are bands: samples, channels, pages. Other axes, such as ``Q``, are unknown.
_BAND_AXES = "SCI"
_INSTALL = "pip install 'smallvit[bands]'"
#: Maximum number of array elements, as a multiple of the limit on the number of pixels.
_MOST_BANDS = 4


def read_array(content: bytes, path: str) -> tuple[np.ndarray, str | None]:
    """Decode a multi-band array.

    Args:
        content (bytes): Encoded .npy or TIFF file.
        path (str): Path of the file, for error messages.

    Returns:
        tuple[np.ndarray, str | None]: Array as stored, and the band axis according to the file
        metadata: "first", "last", or None if unspecified.

    Raises:
        ImageError: If the file is damaged, or neither .npy nor TIFF.
        DataError: If the file contains pickled objects or non-numeric values.
        UserError: If a package that is required to read the file is not installed.
    """
    if content.startswith(NPY_START):
        found, axis = _read_npy(content, path), None
    elif content.startswith(TIFF_STARTS):
        found, axis = _read_tiff(content, path)
    else:
        raise ImageError(f"{path}: {_unknown(content)}; supported formats are .npy and TIFF")
    if found.dtype.kind not in "uif":
        raise DataError(
            f"{path}: expected numbers, got values of type {found.dtype}; save them as uint8, "
            "uint16 or float32"
        )
    if not found.size:
        raise ImageError(f"{path}: the array of shape {found.shape} has no pixels")
    return found, axis


def _unknown(content: bytes) -> str:
    return "neither .npy nor TIFF" if content else "empty file"


def _read_npy(content: bytes, path: str) -> np.ndarray:
    file = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(file)
        read = np.lib.format.read_array_header_1_0
        if version != (1, 0):
            read = np.lib.format.read_array_header_2_0
        shape, is_fortran, dtype = read(file)
    except Exception as error:  # any type, because the header is parsed as a Python literal
        raise ImageError(f"{path}: damaged .npy file ({error})") from error
    if dtype.hasobject:
        raise DataError(
            f"{path}: pickled Python objects are not loaded because they can run code; save "
            "the array as numbers, numpy.save(FILE, array.astype('float32'))"
        )
    _check_size(shape, path)
    wanted, there = math.prod(shape) * dtype.itemsize, len(content) - file.tell()
    if there < wanted:
        raise ImageError(f"{path}: truncated .npy file ({there} bytes of {wanted})")
    found = np.frombuffer(content, dtype, math.prod(shape), offset=file.tell())
    return found.reshape(shape, order="F" if is_fortran else "C")


def _read_tiff(content: bytes, path: str) -> tuple[np.ndarray, str | None]:
    try:
        import tifffile
    except ImportError as error:
        raise UserError(
            f"{path}: reading the bands of TIFF files requires tifffile: {_INSTALL}"
        ) from error
    try:
        with tifffile.TiffFile(io.BytesIO(content)) as file:
            series = file.series[0]  # other series are previews or have another size
            _check_size(series.shape, path)
            return np.asarray(series.asarray()), _band_axis(series.axes)
    except ImageError:
        raise
    except Exception as error:
        if "imagecodecs" in str(error):
            raise UserError(
                f"{path}: this TIFF compression requires imagecodecs: {_INSTALL}"
            ) from error
        raise ImageError(f"{path}: cannot be decoded ({error})") from error


def _band_axis(axes: str) -> str | None:
    if len(axes) != 3 or not {"Y", "X"} <= set(axes):
        return None
    named = {0: "first", 2: "last"}
    places = [place for place, name in enumerate(axes) if name in _BAND_AXES]
    return named.get(places[0]) if places else None


def _check_size(shape: tuple[int, ...], path: str) -> None:
    """Raise an error before decoding if an array has too many pixels or elements."""
    pixels = max(math.prod(sorted(shape)[-2:]), math.prod(shape) // _MOST_BANDS)
    if pixels > max_pixels():
        raise ImageError(
            f"{path}: an array {tuple(shape)}, which is beyond the limit of {max_pixels()} pixels, "
            f"or of {_MOST_BANDS} times as many values; if such images are meant, set the "
            f"environment variable {VARIABLE}={pixels} or more"
        )
