"""Lookup tables of 256 values for pointwise operations, with the same results as Pillow."""

from __future__ import annotations

import numpy as np

_VALUES = np.arange(256)


def invert(_: None = None) -> np.ndarray:
    """Create the lookup table that inverts all values.

    Returns:
        np.ndarray: uint8 lookup table (256, ).
    """
    return (255 - _VALUES).astype(np.uint8)


def solarize(threshold: float) -> np.ndarray:
    """Create the lookup table that inverts values from a threshold on; see :func:`invert`."""
    return np.where(threshold > _VALUES, _VALUES, 255 - _VALUES).astype(np.uint8)


def solarize_add(added: float, threshold: float = 128) -> np.ndarray:
    """Create the lookup table that adds to values below a threshold; see :func:`invert`."""
    brighter = np.minimum(255, _VALUES + added)
    return np.where(threshold > _VALUES, brighter, _VALUES).astype(np.uint8)


def posterize(bits: int) -> np.ndarray:
    """Create the lookup table that keeps the highest bits; see :func:`invert`."""
    if bits >= 8:
        return _VALUES.astype(np.uint8)
    return (_VALUES & ~(2 ** (8 - max(0, bits)) - 1) & 255).astype(np.uint8)


def brightness(factor: float) -> np.ndarray:
    """Create the lookup table that scales all values by a factor; see :func:`invert`."""
    scaled = np.float32(factor) * _VALUES.astype(np.float32)
    return np.clip(scaled, 0, 255).astype(np.uint8)
