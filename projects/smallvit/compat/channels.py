"""Augmentations of the MM libraries that fail on gray images, or drop a fourth channel.

They are patched in place, as they are pickled for worker processes. To be left out where they
take any number of channels (MMPretrain 1.2, MMDetection 3.3 and MMSegmentation 1.2 do not). So
is MMCV 2.1's shift of the hue to the left, which numpy 2 refuses.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

#: By their names in the registries; those that are registered are patched.
STEPS = (
    *("AutoContrast", "CLAHE", "ColorJitter", "ColorTransform", "Contrast", "CutOut", "Equalize"),
    *("GaussianBlur", "Lighting", "PhotoMetricDistortion", "RandomCutOut", "RandomErasing"),
    "YOLOXHSVRandomAug",
)
#: Made of others; those of MMDetection move boxes too.
POLICIES = ("AutoAugment", "RandAugment")
#: Others that move boxes: gray images alone, which are changed once.
BOX_STEPS = ("Expand", "MinIoURandomCrop")


def install(steps: dict[str, type], widen: Callable[[Callable, bool], Callable]) -> None:
    """Let the augmentations of a registry take images of any number of channels.

    Args:
        steps (dict[str, type]): Classes by name; those of smallvit are left alone.
        widen (Callable): Makes of a method ``transform`` one for any image, or for gray ones
            alone.
    """
    for name in (*STEPS, *POLICIES, *BOX_STEPS):
        kind = steps.get(name)
        if kind is None or kind.__module__.startswith("smallvit."):
            continue
        moves = name in POLICIES and kind.__module__.startswith("mmdet.")
        if not moves and not hasattr(kind.transform, "__wrapped__"):
            kind.transform = widen(kind.transform, name in BOX_STEPS)
    _mend_hue()


class _Shift(float):
    """A shift of the hue to the left, of which MMCV makes a byte: 256 steps are a turn."""

    def __mul__(self, steps: Any) -> float:
        return float(int(float(self) * steps) % 256)


def _mend_hue() -> None:
    import mmcv

    original = mmcv.adjust_hue
    if hasattr(original, "__wrapped__"):
        return

    @wraps(original)
    def adjust_hue(img: np.ndarray, hue_factor: float, backend: str | None = None) -> np.ndarray:
        shift = _Shift(hue_factor) if backend == "pillow" and hue_factor < 0 else hue_factor
        return original(img, shift, backend)

    mmcv.adjust_hue = mmcv.image.adjust_hue = adjust_hue
