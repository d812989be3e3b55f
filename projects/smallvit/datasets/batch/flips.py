"""Random flips for batches."""

from __future__ import annotations

from typing import Any

import numpy as np
from mmcv.transforms import RandomFlip
from torch import Tensor

from smallvit.datasets.batch.forms import BatchForm, Change, NoBatchForm, form_of, rows

#: Axes of (B, C, H, W) that are reversed by each direction.
AXES = {"horizontal": (3,), "vertical": (2,), "diagonal": (2, 3)}


@form_of(RandomFlip)
class RandomFlipForm(BatchForm):
    """Batch implementation of MMCV's ``RandomFlip``.

    Args:
        transform (RandomFlip): Transform to convert.

    Raises:
        NoBatchForm: If it has no probability, so that the flip is determined by each sample.
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
        """Draw random parameters for each image of a batch; see the base class."""
        chosen = np.searchsorted(self.bounds, np.random.random(count), side="right")
        found = {name: np.flatnonzero(chosen == i) for i, name in enumerate(self.names[:-1])}
        return Change(flip, {name: rows(which) for name, which in found.items() if len(which)})

    def note(
        self, results: list[dict[str, Any]], change: Change | None, size: tuple[int, int]
    ) -> None:
        """Record in the samples whether they were flipped; see the base class."""
        for sample in results:
            sample.update(flip=False, flip_direction=None)
        for name, which in change.values.items():
            for row in which.tolist():
                results[row].update(flip=True, flip_direction=name)


def flip(images: Tensor, **directions: Tensor) -> Tensor:
    """Flip some images of a batch.

    Args:
        images (Tensor): (B, C, H, W).
        **directions (Tensor): Indices of the images to flip for each direction, ``horizontal``,
            ``vertical`` and ``diagonal``.

    Returns:
        Tensor: Images of the same shape and dtype.
    """
    images = images.clone()
    for name, which in directions.items():
        images[which] = images[which].flip(AXES[name])
    return images
