"""Batch implementation of color jitter."""

from __future__ import annotations

from functools import partial

import torch
from torch import Tensor

from smallvit.datasets.batch import colors
from smallvit.datasets.batch.forms import BatchForm, Change, form_of
from smallvit.datasets.batch.rand_augment import on_colors
from smallvit.datasets.transforms.color_jitter import ColorJitter

CHANGES = {
    "brightness": colors.brightness,
    "contrast": colors.contrast,
    "saturation": colors.saturation,
    "hue": colors.hue,
}


@form_of(ColorJitter)
class ColorJitterForm(BatchForm):
    """Batch implementation of ``smallvit.ColorJitter``; the transform samples the parameters.

    Args:
        transform (ColorJitter): Per-image transform whose settings are used.
    """

    def draw(self, count: int, shape: tuple[int, int, int]) -> Change | None:
        """Sample random parameters for each image of a batch; see ``BatchForm.draw``."""
        drawn = [self.transform.draw() for _ in range(count)]
        plan, values = [], {}
        for turn in range(len(self.transform.ranges)):
            for name in self.transform.ranges:
                which = [row for row, changes in enumerate(drawn) if changes[turn].name == name]
                if which:
                    factors = [drawn[row][turn].factor for row in which]
                    values[f"rows_{len(plan)}"] = torch.tensor(which)
                    values[f"factors_{len(plan)}"] = torch.tensor(factors, dtype=torch.float32)
                    plan.append(name)
        if not plan:
            return None
        return Change(jitter, dict(values, plan=tuple(plan), order=self.transform.channel_order))


def jitter(images: Tensor, plan: tuple[str, ...], order: str, **tensors: Tensor) -> Tensor:
    """Apply a sequence of color changes, each to a subset of the images of a batch.

    Args:
        images (Tensor): uint8 images (B, C, H, W); for the channels, see
            :func:`smallvit.datasets.batch.rand_augment.augment`.
        plan (tuple[str, ...]): Names of the color changes, in order.
        order (str): Channel order, "rgb" or "bgr".
        **tensors (Tensor): Image indices ``rows_i`` and factors ``factors_i`` of color change i.

    Returns:
        Tensor: uint8 images (B, C, H, W).
    """
    images = images.clone()
    for number, name in enumerate(plan):
        which = tensors[f"rows_{number}"]
        change = partial(CHANGES[name], factors=tensors[f"factors_{number}"], order=order)
        images[which] = on_colors(images[which], change)
    return images
