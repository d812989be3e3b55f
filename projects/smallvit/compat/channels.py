"""Support for any number of image channels in augmentations of the MM libraries.

These augmentations fail on gray images or drop a fourth channel. They are patched in place because
they are pickled for worker processes. Remove this once they accept any number of channels
(MMPretrain 1.2, MMDetection 3.3 and MMSegmentation 1.2 do not). MMCV 2.1's negative hue shift,
which numpy 2 rejects, is patched as well.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from smallvit.errors import DataError

#: Names in the registries; those that are registered are patched.
STEPS = (
    *("AutoContrast", "CLAHE", "ColorJitter", "ColorTransform", "Contrast", "CutOut", "Equalize"),
    *("GaussianBlur", "Lighting", "PhotoMetricDistortion", "RandomCutOut", "RandomErasing"),
    "YOLOXHSVRandomAug",
)
#: Transforms composed of others; those of MMDetection also move boxes.
POLICIES = ("AutoAugment", "RandAugment")
#: Other transforms that move boxes: only gray images are converted, once.
BOX_STEPS = ("Expand", "MinIoURandomCrop")

#: Transforms with a value per channel, and the argument that holds the values.
GRAYS = {"RandomGrayscale": "channel_weights", "RGB2Gray": "weights"}


def install(steps: dict[str, type], widen: Callable[[Callable, bool], Callable]) -> None:
    """Make the augmentations of a registry accept images of any number of channels.

    Args:
        steps (dict[str, type]): Classes by name; those of smallvit are not changed.
        widen (Callable): Wraps a method ``transform`` for images of any number of channels, or
            for gray images only.
    """
    for name in (*STEPS, *POLICIES, *BOX_STEPS):
        kind = steps.get(name)
        if kind is None or kind.__module__.startswith("smallvit."):
            continue
        moves = name in POLICIES and kind.__module__.startswith("mmdet.")
        if not moves and not hasattr(kind.transform, "__wrapped__"):
            kind.transform = widen(kind.transform, name in BOX_STEPS)
    for name, key in GRAYS.items():
        kind = steps.get(name)
        if kind is not None and not hasattr(kind.transform, "__wrapped__"):
            widened = widen(kind.transform, False)
            kind.transform = _accept_any_channels(kind.transform, widened, key)
    _patch_hue()


def _accept_any_channels(transform: Callable, widened: Callable, key: str) -> Callable:
    """Wrap a transform with per-channel values; other numbers of channels use ``widened``."""

    @wraps(transform)
    def transform_any(self: Any, results: dict) -> dict:
        image, wanted = results["img"], len(getattr(self, key))
        count = image.shape[2] if image.ndim == 3 else 1
        same = getattr(self, "keep_channels", getattr(self, "out_channels", None) is None)
        gray_already = count == 1 and hasattr(self, "keep_channels") and not same
        if gray_already or (count == wanted and image.ndim == 3):
            return transform(self, results)
        if wanted != 3 or not same:
            raise DataError(
                f"{type(self).__name__}: expected {count} values of {key}, one per channel, got "
                f"{wanted} ({results.get('img_path', 'image without a file')})"
            )
        found = widened(self, results)
        if "img_shape" in found:
            found["img_shape"] = found["img"].shape[: len(results["img_shape"])]
        return found

    return transform_any


class _Shift(float):
    """Negative hue shift modulo 256, as MMCV converts it to an unsigned byte."""

    def __mul__(self, steps: Any) -> float:
        return float(int(float(self) * steps) % 256)


def _patch_hue() -> None:
    import mmcv

    original = mmcv.adjust_hue
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def adjust_hue(img: np.ndarray, hue_factor: float, backend: str | None = None) -> np.ndarray:
        shift = _Shift(hue_factor) if backend == "pillow" and hue_factor < 0 else hue_factor
        return original(img, shift, backend)

    mmcv.adjust_hue = mmcv.image.adjust_hue = adjust_hue
