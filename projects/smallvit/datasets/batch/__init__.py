"""Transforms of a pipeline for whole batches: drawn where images are loaded, applied where the
model is."""

from smallvit.datasets.batch import (  # noqa: F401  # register
    color_jitter,
    crops,
    erasing,
    flips,
    rand_augment,
    resized_crops,
    rotations,
)
from smallvit.datasets.batch.forms import BatchForm, Change, NoBatchForm, find_form, form_of

__all__ = ["BatchForm", "Change", "NoBatchForm", "find_form", "form_of"]
