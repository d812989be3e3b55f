"""Lookup tables of 256 values for pointwise operations, with the results of Pillow."""

from __future__ import annotations

import numpy as np

_VALUES = np.arange(256)


def invert(_: None = None) -> np.ndarray:
    """The negative.

    Returns:
        np.ndarray: uint8 (256, ).
    """
    return (255 - _VALUES).astype(np.uint8)


def solarize(threshold: float) -> np.ndarray:
    """The negative of values from a threshold on; returns as :func:`invert`."""
    return np.where(threshold > _VALUES, _VALUES, 255 - _VALUES).astype(np.uint8)


def solarize_add(added: float, threshold: float = 128) -> np.ndarray:
    """More of values below a threshold; returns as :func:`invert`."""
    brighter = np.minimum(255, _VALUES + added)
    return np.where(threshold > _VALUES, brighter, _VALUES).astype(np.uint8)


def posterize(bits: int) -> np.ndarray:
    """The highest bits of a value; black where none is kept. Returns as :func:`invert`."""
    if bits >= 8:
        return _VALUES.astype(np.uint8)
    return (_VALUES & ~(2 ** (8 - max(0, bits)) - 1) & 255).astype(np.uint8)


def brightness(factor: float) -> np.ndarray:
    """A multiple of each value; returns as :func:`invert`."""
    scaled = np.float32(factor) * _VALUES.astype(np.float32)
    return np.clip(scaled, 0, 255).astype(np.uint8)
