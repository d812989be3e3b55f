"""Batch implementation of RandAugment, with operations and magnitudes sampled per image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from smallvit.datasets.batch import colors, tables
from smallvit.datasets.batch.forms import BatchForm, Change, NoBatchForm, form_of, rows
from smallvit.datasets.batch.warps import TURNED, rotation, warp
from smallvit.datasets.transforms.rand_augment import RandAugment

#: Operations that are lookup tables of 256 values, determined by the magnitude alone.
TABLES = {
    "invert": tables.invert,
    "solarize": tables.solarize,
    "solarize_add": tables.solarize_add,
    "_posterize": tables.posterize,
    "posterize": tables.posterize,
    "brightness": tables.brightness,
}
#: Other color operations, which depend on the image content.
COLORS = {
    "auto_contrast": colors.auto_contrast,
    "equalize": colors.equalize,
    "contrast": colors.contrast,
    "color": colors.saturation,
    "desaturate": colors.saturation,
    "sharpness": colors.sharpness,
}
#: Geometric operations, as affine matrices from output to input coordinates.
MATRICES: dict[str, Callable[[float, tuple[int, int]], tuple[float, ...]]] = {
    "shear_x": lambda factor, size: (1, factor, 0, 0, 1, 0),
    "shear_y": lambda factor, size: (1, 0, 0, factor, 1, 0),
    "translate_x_rel": lambda part, size: (1, 0, part * size[1], 0, 1, 0),
    "translate_y_rel": lambda part, size: (1, 0, 0, 0, 1, part * size[0]),
    "translate_x_abs": lambda pixels, size: (1, 0, pixels, 0, 1, 0),
    "translate_y_abs": lambda pixels, size: (1, 0, 0, 0, 1, pixels),
    "rotate": rotation,
}
RESAMPLING = {Image.Resampling.BILINEAR: "bilinear", Image.Resampling.BICUBIC: "bicubic"}


class Step(NamedTuple):
    """Operation sampled for an image."""

    layer: int
    row: int
    name: str
    argument: float | None
    interpolation: str | None


class _Recorder:
    """Placeholder for an image that records the operations applied by timm."""

    def __init__(self, steps: list[Step]) -> None:
        self.steps, self.layer, self.row = steps, 0, 0

    def take(self, name: str, _: _Recorder, *arguments: float, **settings: Any) -> _Recorder:
        resample = settings.get("resample")
        if isinstance(resample, (list, tuple)):
            resample = resample[int(np.random.randint(len(resample)))]
        argument = arguments[0] if arguments else None
        self.steps.append(Step(self.layer, self.row, name, argument, RESAMPLING.get(resample)))
        return self


@form_of(RandAugment)
class RandAugmentForm(BatchForm):
    """Batch implementation of ``smallvit.RandAugment``; timm samples the operations.

    Args:
        transform (RandAugment): Per-image transform whose settings are used.

    Raises:
        NoBatchForm: If the policy has an operation that is not in timm's predefined policies
            (a blur).
    """

    def __init__(self, transform: Any) -> None:
        super().__init__(transform)
        self.operations = transform._augment.ops
        for one in self.operations:
            if one.aug_fn.__name__ not in {*TABLES, *COLORS, *MATRICES}:
                raise NoBatchForm(
                    f"RandAugment(policy={transform.policy!r}): operation {one.name} has no batch "
                    "version"
                )
        self.fill = transform.fill
        self.order = transform.channel_order

    def draw(self, count: int, shape: tuple[int, int, int]) -> Change | None:
        """Sample random parameters for each image of a batch; see ``BatchForm.draw``."""
        steps = self.record(count)
        if not steps:
            return None
        size = shape[1:]
        layers = []
        for layer in range(max(step.layer for step in steps) + 1):
            chosen = [step for step in steps if step.layer == layer]
            layers.append(_group(chosen, size))
        values: dict[str, Any] = {}
        plan = []
        for number, groups in enumerate(layers):
            for name, tensors in groups:
                key = f"{number}_{len(plan)}"
                values |= {f"{key}_{part}": tensor for part, tensor in tensors.items()}
                plan.append((name, key, tuple(tensors)))
        fill = self.fill if self.order == "rgb" else self.fill[::-1]
        return Change(augment, dict(values, plan=tuple(plan), fill=fill, order=self.order))

    def record(self, count: int) -> list[Step]:
        """Sample operations and magnitudes with timm.

        Args:
            count (int): Number of images.

        Returns:
            list[Step]: Sampled operations, ordered by image.
        """
        augment = self.transform._augment
        number, layers = len(self.operations), augment.num_layers
        if augment.choice_weights is None:
            chosen = np.random.randint(0, number, (count, layers))
        else:  # without replacement
            weights = augment.choice_weights
            pick = partial(np.random.choice, number, layers, replace=False, p=weights)
            chosen = np.stack([pick() for _ in range(count)])
        recorder = _Recorder([])
        functions = [one.aug_fn for one in self.operations]
        for one, function in zip(self.operations, functions, strict=True):
            one.aug_fn = partial(recorder.take, function.__name__)
        try:
            for recorder.row in range(count):
                for recorder.layer in range(layers):
                    self.operations[chosen[recorder.row, recorder.layer]](recorder)
        finally:
            for one, function in zip(self.operations, functions, strict=True):
                one.aug_fn = function
        return recorder.steps


def _group(steps: Sequence[Step], size: tuple[int, int]) -> list[tuple[str, dict[str, Tensor]]]:
    """Group the operations of a layer by name; a layer has at most one operation per image."""
    groups: list[tuple[str, dict[str, Tensor]]] = []
    fixed = [step for step in steps if step.name in TABLES]
    if fixed:
        found = np.stack([TABLES[step.name](step.argument) for step in fixed])
        which = rows([step.row for step in fixed])
        groups.append(("table", dict(rows=which, tables=torch.from_numpy(found))))
    for name in dict.fromkeys(step.name for step in steps if step.name in COLORS):
        chosen = [step for step in steps if step.name == name]
        tensors = dict(rows=rows([step.row for step in chosen]))
        if chosen[0].argument is not None:
            factors = [step.argument for step in chosen]
            tensors["factors"] = torch.tensor(factors, dtype=torch.float32)
        groups.append((name, tensors))
    for interpolation in RESAMPLING.values():
        chosen = [
            step for step in steps if step.name in MATRICES and step.interpolation == interpolation
        ]
        groups += _warps(chosen, interpolation, size)
    return groups


def _warps(
    steps: Sequence[Step], interpolation: str, size: tuple[int, int]
) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Group warps along rows only, along columns only, and along both axes.

    The first two sample fewer pixels, and are merged for square images.
    """
    kinds: dict[str, list[tuple[int, tuple[float, ...], bool]]] = {}
    for step in steps:
        matrix = MATRICES[step.name](step.argument, size)
        kind = "x" if matrix[3:] == (0, 1, 0) else "y" if matrix[:3] == (1, 0, 0) else "xy"
        turned = kind == "y" and size[0] == size[1]
        if turned:
            kind, matrix = "x", tuple(matrix[i] for i in TURNED)
        kinds.setdefault(kind, []).append((step.row, matrix, turned))
    for kind, found in kinds.items():
        row, matrix, turned = zip(*found, strict=True)
        tensors = dict(rows=rows(row), matrices=torch.tensor(matrix, dtype=torch.float64))
        if any(turned):
            tensors["turned"] = rows(np.flatnonzero(turned))
        yield f"warp {interpolation} {kind}", tensors


def augment(
    images: Tensor,
    plan: Sequence[tuple[str, str, tuple[str, ...]]],
    fill: Sequence[float],
    order: str,
    **tensors: Tensor,
) -> Tensor:
    """Apply operations, each to a subset of the images of a batch.

    Args:
        images (Tensor): uint8 images (B, C, H, W). With three or more channels, the first three
            are the colors; all other channels are treated as grayscale images.
        plan (Sequence[tuple]): Operation, key prefix of its tensors, and names of its tensors, for
            each call.
        fill (Sequence[float]): Fill value for pixels outside of the image, in its channel order.
        order (str): Channel order, "rgb" or "bgr".
        **tensors (Tensor): Image indices ``rows`` and other arguments of each call.

    Returns:
        Tensor: uint8 images (B, C, H, W).
    """
    images = images.clone()
    for name, key, parts in plan:
        values = {part: tensors[f"{key}_{part}"] for part in parts}
        which = values.pop("rows")
        call = partial(_apply, name, fill=fill, order=order, **values)
        images[which] = on_colors(images[which], call)
    return images


def _apply(
    name: str, images: Tensor, fill: Sequence[float], order: str, **values: Tensor
) -> Tensor:
    if name == "table":
        return colors.look_up(images, values["tables"][:, None])
    if name in COLORS:
        return COLORS[name](images, order=order, **values)
    _, interpolation, axes = name.split()
    turned = values.get("turned")
    images = _turn(images, turned)
    return _turn(warp(images, values["matrices"], fill, interpolation, axes), turned)


def _turn(images: Tensor, which: Tensor | None) -> Tensor:
    """Transpose a subset of the images."""
    if which is None:
        return images
    images = images.clone()
    images[which] = images[which].mT
    return images


def on_colors(images: Tensor, function: Callable[[Tensor], Tensor]) -> Tensor:
    """Apply a function for three-channel images to images with any number of channels.

    Args:
        images (Tensor): Images (B, C, H, W).
        function (Callable): Function that preserves the shape (B, 3, H, W).

    Returns:
        Tensor: Images (B, C, H, W); for the channels, see :func:`augment`.
    """
    channels = images.shape[1]
    if channels == 3:
        return function(images)
    parts = [function(images[:, :3])] if channels > 3 else []
    for channel in range(3 if channels > 3 else 0, channels):
        gray = images[:, channel : channel + 1].expand(-1, 3, -1, -1)
        parts.append(function(gray)[:, :1])
    return torch.cat(parts, 1)
