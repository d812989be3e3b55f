"""Batch implementations of transforms.

Random parameters are sampled in the data loader, and the transforms are applied on the device of
the model.
"""

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
