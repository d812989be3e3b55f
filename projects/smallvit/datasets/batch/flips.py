"""Batch implementation of random flips."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import RandomFlip
from torch import Tensor

from smallvit.datasets.batch.forms import BatchForm, Change, NoBatchForm, form_of, rows

#: Flipped axes of (B, C, H, W) for each direction.
AXES = {"horizontal": (3,), "vertical": (2,), "diagonal": (2, 3)}


@form_of(RandomFlip)
class RandomFlipForm(BatchForm):
    """Batch implementation of MMCV's ``RandomFlip``.

    Args:
        transform (RandomFlip): Per-image transform whose settings are used.

    Raises:
        NoBatchForm: If the transform has no probability, so that each sample determines its flip.
    """

    def __init__(self, transform: Any) -> None:
        super().__init__(transform)
        if transform.prob is None:
            raise NoBatchForm("RandomFlip(prob=None) has no batch version")
        names = transform.direction
        names = [names] if isinstance(names, str) else list(names)
        given = transform.prob
        chances = [given / len(names)] * len(names) if isinstance(given, float) else list(given)
        self.names: list[str | None] = [*names, None]
        self.bounds = np.cumsum(chances)

    def draw(self, count: int, shape: tuple[int, int, int]) -> Change:
        """Sample random parameters for each image of a batch; see ``BatchForm.draw``."""
        chosen = np.searchsorted(self.bounds, np.random.random(count), side="right")
        found = {name: np.flatnonzero(chosen == i) for i, name in enumerate(self.names[:-1])}
        return Change(flip, {name: rows(which) for name, which in found.items() if len(which)})

    def note(
        self, results: list[dict[str, Any]], change: Change | None, size: tuple[int, int]
    ) -> None:
        """Record the flip direction in each sample dict; see ``BatchForm.note``."""
        for sample in results:
            sample.update(flip=False, flip_direction=None)
        for name, which in change.values.items():
            for row in which.tolist():
                results[row].update(flip=True, flip_direction=name)


def flip(images: Tensor, **directions: Tensor) -> Tensor:
    """Flip a subset of the images of a batch.

    Args:
        images (Tensor): Images (B, C, H, W).
        **directions (Tensor): Indices of the images to flip, for the directions ``horizontal``,
            ``vertical`` and ``diagonal``.

    Returns:
        Tensor: Images with the same shape and dtype.
    """
    images = images.clone()
    for name, which in directions.items():
        images[which] = images[which].flip(AXES[name])
    return images
