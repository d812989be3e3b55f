"""Batch implementation of random resized crops."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from mmpretrain.datasets.transforms import RandomResizedCrop
from PIL import Image
from torch import Tensor

from smallvit.datasets.batch.forms import BatchForm, Change, NoBatchForm, form_of, rows


@form_of(RandomResizedCrop)
class RandomResizedCropForm(BatchForm):
    """Batch implementation of MMPretrain's ``RandomResizedCrop``.

    Args:
        transform (RandomResizedCrop): Per-image transform whose settings are used.

    Raises:
        NoBatchForm: If the interpolation is neither bilinear nor bicubic.
    """

    def __init__(self, transform: Any) -> None:
        super().__init__(transform)
        self.method = f"{transform.backend} {transform.interpolation}"
        if self.method not in KERNELS:
            raise NoBatchForm(
                f"RandomResizedCrop(backend={transform.backend!r}, "
                f"interpolation={transform.interpolation!r}) has no batch version; 'bilinear' and "
                "'bicubic' do"
            )

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]:
        """Compute the size of the output images; see ``BatchForm.size_after``."""
        return tuple(self.transform.scale)

    def draw(self, count: int, shape: tuple[int, int, int]) -> Change:
        """Sample random parameters for each image of a batch; see ``BatchForm.draw``."""
        image = SimpleNamespace(shape=(*shape[1:], shape[0]))
        boxes = [self.transform.rand_crop_params(image) for _ in range(count)]
        size = self.size_after(shape[1:])
        values: dict[str, Any] = dict(boxes=torch.tensor(boxes), size=size, method=self.method)
        if self.transform.backend == "pillow":
            # Newer versions of Pillow resize vertically first if the height shrinks and the width
            # grows. Their order if both shrink is not reproduced.
            height, width = np.array(boxes).reshape(-1, 4).T[2:]
            tall = (size[0] < height) & (size[1] > width) & _pillow_orders_axes()
            values.update(
                rows_first=rows(np.flatnonzero(~tall)), rows_last=rows(np.flatnonzero(tall))
            )
        return Change(crop_resized, values)


def _pillow(support: float, kernel: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """Create Pillow's weight function, with a kernel that is widened for downscaling."""

    def weigh(starts: Tensor, lengths: Tensor, size: int, pixels: int) -> Tensor:
        scale = (lengths.double() / size)[:, None]
        wide = scale.clamp(min=1)
        centers = scale * (torch.arange(size, dtype=scale.dtype, device=scale.device) + 0.5)
        ends = lengths[:, None].double()
        first = (centers - support * wide + 0.5).trunc().clamp(min=0)
        last = (centers + support * wide + 0.5).trunc().minimum(ends)
        place = torch.arange(pixels, device=scale.device) - starts[:, None]
        place = place[:, None].double()  # (B, 1, pixels)
        weights = kernel((place - centers[..., None] + 0.5) / wide[..., None])
        weights = weights * ((place >= first[..., None]) & (place < last[..., None]))
        return weights / weights.sum(2, keepdim=True)

    return weigh


def _opencv(offsets: tuple[int, ...], kernel: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """Create OpenCV's weight function, with a fixed kernel width and a replicated border."""

    def weigh(starts: Tensor, lengths: Tensor, size: int, pixels: int) -> Tensor:
        scale = (lengths.double() / size)[:, None]
        places = (torch.arange(size, dtype=scale.dtype, device=scale.device) + 0.5) * scale - 0.5
        first = places.floor()
        weights = places.new_zeros(len(starts), size, pixels)
        for offset in offsets:
            tap = (first + offset).clamp(min=0).minimum(lengths[:, None] - 1)
            index = (tap.long() + starts[:, None])[..., None]
            weights.scatter_add_(2, index, kernel(places - first - offset)[..., None])
        return weights

    return weigh


def _triangle(x: Tensor) -> Tensor:
    return (1 - x.abs()).clamp(min=0)


def _cubic(a: float) -> Callable[[Tensor], Tensor]:
    def kernel(x: Tensor) -> Tensor:
        x = x.abs()
        near = ((a + 2) * x - (a + 3)) * x * x + 1
        far = (((x - 5) * x + 8) * x - 4) * a
        return torch.where(x < 1, near, torch.where(x < 2, far, torch.zeros_like(x)))

    return kernel


#: Weight functions by backend and interpolation. The arguments are the start and length of each
#: crop and the output and input size of an axis; the result has shape (B, output, input).
KERNELS = {
    "pillow bilinear": _pillow(1.0, _triangle),
    "pillow bicubic": _pillow(2.0, _cubic(-0.5)),
    "cv2 bilinear": _opencv((0, 1), _triangle),
    "cv2 bicubic": _opencv((-1, 0, 1, 2), _cubic(-0.75)),
}


def crop_resized(
    images: Tensor,
    boxes: Tensor,
    size: tuple[int, int],
    method: str,
    rows_first: Tensor | None = None,
    rows_last: Tensor | None = None,
) -> Tensor:
    """Crop each image and resize all crops to the same size.

    Args:
        images (Tensor): uint8 images (B, C, H, W).
        boxes (Tensor): int64 crops (B, 4) as first row, first column, height and width.
        size (tuple[int, int]): Height h and width w of the output.
        method (str): Key of :data:`KERNELS`.
        rows_first (Tensor, optional): int64 indices of the images that are resized horizontally
            first, with rounding between the passes as in Pillow. Defaults to None: no rounding.
        rows_last (Tensor, optional): int64 indices of the images that are resized vertically
            first. Defaults to None.

    Returns:
        Tensor: uint8 crops (B, C, h, w).
    """
    top, left, height, width = boxes.unbind(1)
    weigh = KERNELS[method]
    down = weigh(top, height, size[0], images.shape[2]).float()
    right = weigh(left, width, size[1], images.shape[3]).float()
    values = images.float()
    if rows_first is None:
        return _to_bytes(_across(_along(values, down), right)).to(torch.uint8)
    found = values.new_empty(*images.shape[:2], *size)
    orders = ((rows_first, _across, _along), (rows_last, _along, _across))
    for chosen, first, second in orders:
        if len(chosen):
            weights = {_across: right[chosen], _along: down[chosen]}
            between = _to_bytes(first(values[chosen], weights[first]))
            found[chosen] = second(between, weights[second])
    return _to_bytes(found).to(torch.uint8)


def _across(values: Tensor, weights: Tensor) -> Tensor:
    """Resize horizontally."""
    if values.device.type == "cuda":  # float32 matrix products may use TF32
        return (values.double() @ weights.double().mT[:, None]).float()
    return values @ weights.mT[:, None]


def _along(values: Tensor, weights: Tensor) -> Tensor:
    return _across(values.mT, weights).mT


def _to_bytes(values: Tensor) -> Tensor:
    return values.round().clamp_(0, 255)


@cache
def _pillow_orders_axes() -> bool:
    """Check whether the installed version of Pillow resizes tall images vertically first."""
    image = np.random.RandomState(0).randint(0, 256, (40, 10)).astype(np.uint8)
    wide = Image.fromarray(image).resize((32, 40), Image.Resampling.BICUBIC)
    rows_first = wide.resize((32, 32), Image.Resampling.BICUBIC)
    found = Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC)
    return bool((np.asarray(found) != np.asarray(rows_first)).any())
