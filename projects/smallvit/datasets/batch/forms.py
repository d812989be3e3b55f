"""What stands in a batch for a transform of a pipeline, and the table of those that there are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor


class NoBatchForm(Exception):  # noqa: N818  # an answer, which becomes a message
    """A transform, or a setting of one, that has no form for whole batches; says which."""


@dataclass
class Change:
    """What was drawn for the images of a batch: a function and its arguments.

    Args:
        apply (Callable): Takes images (B, C, H, W) and ``values``, and returns images. A
            function of a module, as it goes from a worker to the process of the model. It leaves
            the images that it is given as they are.
        values (dict[str, Any]): Its other arguments; tensors go to the images' device.
    """

    apply: Callable[..., Tensor]
    values: dict[str, Any] = field(default_factory=dict)

    def map_tensors(self, function: Callable[[Tensor], Tensor]) -> Change:
        """Change the tensors among the arguments.

        Args:
            function (Callable): What to do with each.

        Returns:
            Change: Another change.
        """
        values = {
            name: function(value) if isinstance(value, Tensor) else value
            for name, value in self.values.items()
        }
        return Change(self.apply, values)

    def __call__(self, images: Tensor) -> Tensor:
        """Apply it; takes and returns images."""
        return self.apply(images, **self.values)


class BatchForm:
    """A transform of a pipeline, for the images of a batch at once.

    Draws come from Python's, numpy's and torch's global CPU generators, as those of the
    transforms do, so that they are the same for any number of workers and on any device.

    Args:
        transform (BaseTransform): The transform, whose settings are taken.

    Attributes:
        only_looks (bool): Whether it leaves images as they are, so that it may stand before steps
            that are applied once.

    Raises:
        NoBatchForm: If a setting of it has none.
    """

    only_looks = False

    def __init__(self, transform: Any) -> None:
        self.transform = transform

    def size_after(self, size: tuple[int, int]) -> tuple[int, int]:
        """Tell how large the images are behind it.

        Args:
            size (tuple[int, int]): Height and width before it.

        Returns:
            tuple[int, int]: Height and width.
        """
        return size

    def look(self, info: dict[str, Any]) -> dict[str, Any]:
        """Take what it needs of a sample, once, before the images are stored.

        Args:
            info (dict): What the data set knows of the sample, with ``sample_idx``.

        Returns:
            dict: What each batch finds in the sample's results.
        """
        return {}

    def draw(self, count: int, shape: tuple[int, int, int]) -> Change | None:
        """Draw for each image of a batch.

        Args:
            count (int): Images B.
            shape (tuple[int, int, int]): Their (C, H, W).

        Returns:
            Change | None: What was drawn; None where images stay as they are.
        """
        return None

    def note(
        self, results: list[dict[str, Any]], change: Change | None, size: tuple[int, int]
    ) -> None:
        """Write into the results of the samples what the transform would.

        Args:
            results (list[dict]): Of each sample.
            change (Change | None): What was drawn.
            size (tuple[int, int]): Height and width of the images before it.
        """


#: Forms by the class of the transform.
_FORMS: dict[type, type[BatchForm]] = {}


def form_of(kind: type) -> Callable[[type[BatchForm]], type[BatchForm]]:
    """Register a form of a transform; classes that derive from the transform need their own.

    Args:
        kind (type): The class of the transform.

    Returns:
        Callable: A decorator for the class of the form.
    """

    def register(form: type[BatchForm]) -> type[BatchForm]:
        _FORMS[kind] = form
        return form

    return register


def find_form(transform: Any) -> BatchForm:
    """Make the form of a transform.

    Args:
        transform (BaseTransform): The transform.

    Returns:
        BatchForm: Its form.

    Raises:
        NoBatchForm: If the transform, or a setting of it, has none.
    """
    kind = type(transform)
    if kind not in _FORMS:
        ours = {one.__name__ for one in _FORMS if one.__module__.startswith("smallvit.")}
        other = f"; smallvit.{kind.__name__} has one" if kind.__name__ in ours else ""
        raise NoBatchForm(f"{kind.__name__} has no form for whole batches{other}")
    return _FORMS[kind](transform)


def rows(chosen: Any) -> Tensor:
    """Indices of samples as a tensor.

    Args:
        chosen (Sequence[int] | np.ndarray): The indices.

    Returns:
        Tensor: int64.
    """
    return torch.as_tensor(chosen, dtype=torch.int64)


def opencv_color(value: float | Sequence[float]) -> tuple[float, ...]:
    """Tell which color OpenCV makes of a number: one of which the first channel alone is not 0.

    Args:
        value (float | Sequence[float]): As it is given to a transform.

    Returns:
        tuple[float, ...]: Of four channels, or of as many as were given.
    """
    return tuple(value) if isinstance(value, Sequence) else (value, 0, 0, 0)
