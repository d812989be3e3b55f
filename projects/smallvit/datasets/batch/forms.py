"""Base class and registry of batch implementations of transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


class NoBatchForm(Exception):  # noqa: N818  # control flow, not an error
    """Raised if a transform, or one of its settings, has no batch implementation."""


@dataclass
class Change:
    """Transform of a batch with sampled parameters: a function and its arguments.

    Args:
        apply (Callable): Function of images (B, C, H, W) and ``values`` that returns images and
            does not modify its input. It must be picklable, because it is sent from a worker to
            the main process.
        values (dict[str, Any]): Keyword arguments of ``apply``; tensors are moved to the device of
            the images.
    """

    apply: Callable[..., Tensor]
    values: dict[str, Any] = field(default_factory=dict)

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> Change:
        """Apply a function to all tensors in ``values``.

        Args:
            function (Callable): Function from a tensor to a tensor.

        Returns:
            Change: Copy with the new tensors.
        """
        values = {
            name: function(value) if isinstance(value, Tensor) else value
            for name, value in self.values.items()
        }
        return Change(self.apply, values)

    def __call__(self, images: Tensor) -> Tensor:
        """Transform images (B, C, H, W)."""
        return self.apply(images, **self.values)


class BatchForm:
    """Base class for batch implementations of per-image transforms.

    Random numbers are sampled from the global CPU generators of Python, numpy and torch, as in the
    per-image transforms, so that they are the same for any number of workers and on any device.

    Args:
        transform (BaseTransform): Per-image transform whose settings are used.

    Attributes:
        only_looks (bool): Whether images are never changed, so that the transform may precede
            deterministic transforms.

    Raises:
        NoBatchForm: If a setting of the transform is not supported.
    """

    only_looks = False

    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]:
        """Compute the size of the output images.

        Args:
            size (tuple[int, int]): Height and width of the input images.

        Returns:
            tuple[int, int]: Height and width of the output images.
        """
        return size

    def look(self, info: dict[str, Any]) -> dict[str, Any]:
        """Extract required entries from a sample, once, before the images are cached.

        Args:
            info (dict): Annotation dict of the sample, with ``sample_idx``.

        Returns:
            dict: Entries that are added to the sample dict in each batch.
        """
        return {}

    def draw(self, count: int, shape: tuple[int, int, int]) -> Change | None:
        """Sample random parameters for each image of a batch.

        Args:
            count (int): Number B of images.
            shape (tuple[int, int, int]): Shape (C, H, W) of each image.

        Returns:
            Change | None: Transform with the sampled parameters; None if no image is changed.
        """
        return None

    def note(
        self, results: list[dict[str, Any]], change: Change | None, size: tuple[int, int]
    ) -> None:
        """Add the entries to each sample dict that the per-image transform would add.

        Args:
            results (list[dict]): Sample dicts, modified in place.
            change (Change | None): Return value of :meth:`draw`.
            size (tuple[int, int]): Height and width of the input images.
        """


#: Batch implementations by transform class.
_FORMS: dict[type, type[BatchForm]] = {}


def form_of(kind: type) -> Callable[[type[BatchForm]], type[BatchForm]]:
    """Register the batch implementation of a transform class, but not of its subclasses.

    Args:
        kind (type): Class of the per-image transform.

    Returns:
        Callable: Class decorator for the batch implementation.
    """

    def register(form: type[BatchForm]) -> type[BatchForm]:
        _FORMS[kind] = form
        return form

    return register


def find_form(transform: Any) -> BatchForm:
    """Create the batch implementation of a transform.

    Args:
        transform (BaseTransform): Per-image transform whose settings are used.

    Returns:
        BatchForm: Batch implementation with the settings of the transform.

    Raises:
        NoBatchForm: If the transform, or one of its settings, has no batch implementation.
    """
    kind = type(transform)
    if kind not in _FORMS:
        ours = {one.__name__ for one in _FORMS if one.__module__.startswith("smallvit.")}
        other = f", but smallvit.{kind.__name__} has" if kind.__name__ in ours else ""
        raise NoBatchForm(f"{kind.__name__} has no batch version{other}")
    return _FORMS[kind](transform)


def rows(chosen: Any) -> Tensor:
    """Convert sample indices to an int64 tensor.

    Args:
        chosen (Sequence[int] | np.ndarray): Sample indices.

    Returns:
        Tensor: int64 indices (N, ).
    """
    return torch.as_tensor(chosen, dtype=torch.int64)


def opencv_color(value: float | Sequence[float]) -> tuple[float, ...]:
    """Convert a fill value as OpenCV does: a scalar applies to the first channel, 0 to the others.

    Args:
        value (float | Sequence[float]): Fill value of a transform.

    Returns:
        tuple[float, ...]: Four values for a scalar, otherwise the given values.
    """
    return tuple(value) if isinstance(value, Sequence) else (value, 0, 0, 0)
