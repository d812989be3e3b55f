"""Base class and registry of batch implementations of transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


class NoBatchForm(Exception):  # noqa: N818  # an answer, which becomes a message
    """Raised for a transform, or a setting of one, without a batch implementation."""


@dataclass
class Change:
    """Drawn change of the images of a batch: a function and its arguments.

    Args:
        apply (Callable): Function of images (B, C, H, W) and ``values`` that returns images
            and does not modify its input. It must be picklable, as it is sent from a worker to
            the process of the model.
        values (dict[str, Any]): Keyword arguments; tensors are moved to the images' device.
    """

    apply: Callable[..., Tensor]
    values: dict[str, Any] = field(default_factory=dict)

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> Change:
        """Apply a function to the tensors among the arguments.

        Args:
            function (Callable): Function that is applied to each tensor.

        Returns:
            Change: Copy with the new tensors.
        """
        values = {
            name: function(value) if isinstance(value, Tensor) else value
            for name, value in self.values.items()
        }
        return Change(self.apply, values)

    def __call__(self, images: Tensor) -> Tensor:
        """Apply the change to images."""
        return self.apply(images, **self.values)


class BatchForm:
    """Batch implementation of a transform of a pipeline.

    Random numbers are drawn from Python's, numpy's and torch's global CPU generators, as in the
    transforms, so that they are the same for any number of workers and on any device.

    Args:
        transform (BaseTransform): Transform whose settings are used.

    Attributes:
        only_looks (bool): Whether it does not change images, so that it may precede steps
            that are applied once.

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
        """Extract required information from a sample, once, before the images are stored.

        Args:
            info (dict): Annotation of the sample, with ``sample_idx``.

        Returns:
            dict: Entries that are added to the sample's results in each batch.
        """
        return {}

    def draw(self, count: int, shape: tuple[int, int, int]) -> Change | None:
        """Draw random parameters for each image of a batch.

        Args:
            count (int): Number B of images.
            shape (tuple[int, int, int]): Shape (C, H, W) of each image.

        Returns:
            Change | None: Drawn change, or None if no image is changed.
        """
        return None

    def note(
        self, results: list[dict[str, Any]], change: Change | None, size: tuple[int, int]
    ) -> None:
        """Add the entries to the results of the samples that the transform would add.

        Args:
            results (list[dict]): Results of each sample, changed in place.
            change (Change | None): Drawn change.
            size (tuple[int, int]): Height and width of the input images.
        """


#: Batch implementations by the class of the transform.
_FORMS: dict[type, type[BatchForm]] = {}


def form_of(kind: type) -> Callable[[type[BatchForm]], type[BatchForm]]:
    """Register the batch implementation of a transform, which subclasses do not inherit.

    Args:
        kind (type): Class of the transform.

    Returns:
        Callable: Decorator for the class of the batch implementation.
    """

    def register(form: type[BatchForm]) -> type[BatchForm]:
        _FORMS[kind] = form
        return form

    return register


def find_form(transform: Any) -> BatchForm:
    """Create the batch implementation of a transform.

    Args:
        transform (BaseTransform): Transform to convert.

    Returns:
        BatchForm: Batch implementation with the settings of the transform.

    Raises:
        NoBatchForm: If the transform, or one of its settings, is not supported.
    """
    kind = type(transform)
    if kind not in _FORMS:
        ours = {one.__name__ for one in _FORMS if one.__module__.startswith("smallvit.")}
        other = f", but smallvit.{kind.__name__} has" if kind.__name__ in ours else ""
        raise NoBatchForm(f"{kind.__name__} has no batch version{other}")
    return _FORMS[kind](transform)


def rows(chosen: Any) -> Tensor:
    """Convert indices of samples to a tensor.

    Args:
        chosen (Sequence[int] | np.ndarray): Indices of samples.

    Returns:
        Tensor: Indices as int64.
    """
    return torch.as_tensor(chosen, dtype=torch.int64)


def opencv_color(value: float | Sequence[float]) -> tuple[float, ...]:
    """Convert a fill value as OpenCV does: a number sets the first channel and 0 the others.

    Args:
        value (float | Sequence[float]): Fill value of a transform.

    Returns:
        tuple[float, ...]: Four values for a number, else the given ones.
    """
    return tuple(value) if isinstance(value, Sequence) else (value, 0, 0, 0)
