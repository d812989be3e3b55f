"""Traversal of nested datasets and the transforms of their pipelines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def parts_of(dataset: Any) -> Iterator[Any]:
    """Find the innermost datasets of a concatenation or wrapper.

    Args:
        dataset (Dataset): A dataset of any MM library.

    Yields:
        Dataset: The innermost datasets, or a wrapper that selects samples of one.
    """
    inner = _inner(dataset)
    if not inner or len(dataset) < sum(map(len, inner)):
        yield dataset
        return
    for one in inner:
        yield from parts_of(one)


def _inner(dataset: Any) -> list:
    several = getattr(dataset, "datasets", None) or [getattr(dataset, "dataset", None)]
    return [one for one in several if one is not None]


def pipelines_of(dataset: Any) -> Iterator[Any]:
    """Find the pipelines of a dataset, those of wrappers first.

    Args:
        dataset (Dataset): Dataset, possibly a wrapper.

    Yields:
        Compose: A pipeline with ``transforms``.
    """
    pipeline = getattr(dataset, "pipeline", None)
    if hasattr(pipeline, "transforms"):
        yield pipeline
    for one in _inner(dataset):
        yield from pipelines_of(one)


def transform_of(dataset: Any, kind: type) -> Any:
    """Find the transform that loads a dataset's images or annotations.

    Args:
        dataset (Dataset): Dataset, possibly a wrapper.
        kind (type): Class of the transform.

    Returns:
        BaseTransform | None: The first transform of that class, or None.
    """
    transforms = (one for each in pipelines_of(dataset) for one in each.transforms)
    return next((one for one in transforms if isinstance(one, kind)), None)
