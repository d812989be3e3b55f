"""Batch implementation of rotations."""

from __future__ import annotations

import math
from typing import Any

import torch
from mmpretrain.datasets.transforms import Rotate

from smallvit.datasets.batch.forms import (
    BatchForm,
    Change,
    NoBatchForm,
    form_of,
    opencv_color,
    rows,
)
from smallvit.datasets.batch.warps import warp_into


@form_of(Rotate)
class RotateForm(BatchForm):
    """Batch implementation of MMPretrain's ``Rotate``.

    Args:
        transform (Rotate): Per-image transform whose settings are used.

    Raises:
        NoBatchForm: If the interpolation is not bilinear.
    """

    def __init__(self, transform: Any) -> None:
        super().__init__(transform)
        if transform.interpolation != "bilinear":
            raise NoBatchForm(
                f"Rotate(interpolation={transform.interpolation!r}) has no batch version; "
                "interpolation='bilinear' does"
            )

    def draw(self, count: int, shape: tuple[int, int, int]) -> Change:
        """Sample random parameters for each image of a batch; see ``BatchForm.draw``."""
        step = self.transform
        angles = {}
        for row in range(count):
            if step.random_disable():
                continue
            given = step.random_magnitude() if step.angle is None else step.angle
            angles[row] = step.random_negative(given)
        matrices = [self._matrix(angle, shape[1:]) for angle in angles.values()]
        values = dict(
            rows=rows(list(angles)),
            matrices=torch.tensor(matrices, dtype=torch.float64).view(-1, 6),
        )
        return Change(warp_into, dict(values, fill=opencv_color(step.pad_val)))

    def _matrix(self, degrees: float, size: tuple[int, int]) -> tuple[float, ...]:
        """Compute the matrix from output to input coordinates; positive angles are clockwise."""
        x, y = self.transform.center or ((size[1] - 1) * 0.5, (size[0] - 1) * 0.5)
        scale = self.transform.scale
        cosine, sine = (f(math.radians(degrees)) / scale for f in (math.cos, math.sin))
        return (
            *(cosine, sine, x - cosine * x - sine * y),
            *(-sine, cosine, y + sine * x - cosine * y),
        )
