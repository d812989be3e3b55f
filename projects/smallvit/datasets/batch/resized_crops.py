"""Random resized crops for batches."""

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
        transform (RandomResizedCrop): Transform to convert.

    Raises:
        NoBatchForm: If it does not interpolate bilinearly or bicubically.
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
        """Compute the size of the output images; see the base class."""
        return tuple(self.transform.scale)

    def draw(self, count: int, shape: tuple[int, int, int]) -> Change:
        """Draw random parameters for each image of a batch; see the base class."""
        image = SimpleNamespace(shape=(*shape[1:], shape[0]))
        boxes = [self.transform.rand_crop_params(image) for _ in range(count)]
        size = self.size_after(shape[1:])
        values: dict[str, Any] = dict(boxes=torch.tensor(boxes), size=size, method=self.method)
        if self.transform.backend == "pillow":
            # Newer ones begin with the columns where these shrink and the rows grow; which of two
            # that shrink comes first is not followed.
            height, width = np.array(boxes).reshape(-1, 4).T[2:]
            tall = (size[0] < height) & (size[1] > width) & _pillow_orders_axes()
            values.update(
                rows_first=rows(np.flatnonzero(~tall)), rows_last=rows(np.flatnonzero(tall))
            )
        return Change(crop_resized, values)


def _pillow(support: float, kernel: Callable[[Tensor], Tensor]) -> Callable[..., Tensor]:
    """Weights of Pillow: of all pixels under the kernel, which is widened for downscaling."""

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
    """Weights of OpenCV: of the nearest pixels, with the border replicated."""

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


#: By backend and interpolation: from first pixels, lengths, the wanted and the present size of an
#: axis to the weights (B, wanted, present) of pixels.
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
    """Crop each image and resize the crops to one size.

    Args:
        images (Tensor): uint8 (B, C, H, W).
        boxes (Tensor): First row and column, height and width of each crop, int64 (B, 4).
        size (tuple[int, int]): Height h and width w of the output.
        method (str): Key of :data:`KERNELS`.
        rows_first (Tensor, optional): Where Pillow rounds in between, the images whose rows are
            resized before their columns, int64. Defaults to None: it does not.
        rows_last (Tensor, optional): The others. Defaults to None.

    Returns:
        Tensor: uint8 (B, C, h, w).
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
    """Resize rows."""
    if values.device.type == "cuda":  # whose products of float32 may be rounded to TF32
        return (values.double() @ weights.double().mT[:, None]).float()
    return values @ weights.mT[:, None]


def _along(values: Tensor, weights: Tensor) -> Tensor:
    return _across(values.mT, weights).mT


def _to_bytes(values: Tensor) -> Tensor:
    return values.round().clamp_(0, 255)


@cache
def _pillow_orders_axes() -> bool:
    """Whether the installed Pillow resizes the columns of a tall image first."""
    image = np.random.RandomState(0).randint(0, 256, (40, 10)).astype(np.uint8)
    wide = Image.fromarray(image).resize((32, 40), Image.Resampling.BICUBIC)
    rows_first = wide.resize((32, 32), Image.Resampling.BICUBIC)
    found = Image.fromarray(image).resize((32, 32), Image.Resampling.BICUBIC)
    return bool((np.asarray(found) != np.asarray(rows_first)).any())
