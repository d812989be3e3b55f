"""Do the images that come out of a pipeline have the channels that a model normalizes?"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from smallvit.engine.random_states import preserved


def channel_fault(model: nn.Module, dataset: Any) -> str | None:
    """Say that a model has another number of means than its images have channels.

    Three means make three channels of a gray image, without a word; with four channels the
    first step ends in an error of shapes.

    Args:
        model (nn.Module): The model; one that does not normalize is passed over.
        dataset (Dataset): A data set, of which the first sample is loaded.

    Returns:
        str | None: A sentence with the file, the setting and the way out; None where all fit.
    """
    mean = getattr(getattr(model, "data_preprocessor", None), "mean", None)
    if not isinstance(mean, torch.Tensor) or mean.numel() == 1:
        return None  # one is taken from every channel
    channels = _channels(dataset)
    if channels is None or channels == mean.numel():
        return None
    name = dataset.get_data_info(0).get("img_path") or "the first one"
    way_out = "or read them in color: color_type='color' in LoadImageFromFile"
    if channels > 3:
        way_out += ", or a step dict(type='smallvit.ToColor') behind it"
    return (
        f"data_preprocessor.mean has {mean.numel()} values, but the images have {channels} "
        f"channel{'s' if channels > 1 else ''} when they come out of the pipeline ({name}): give "
        f"{channels} of mean and of std, and as many in_channels to the backbone, {way_out}"
    )


def _channels(dataset: Any) -> int | None:
    """Channels of the first sample; None where it cannot tell, or is no image."""
    if not hasattr(dataset, "get_data_info") or not len(dataset):
        return None
    with preserved():
        try:
            inputs = dataset[0]["inputs"]
        except Exception:  # what cannot be loaded is named where it is trained
            return None
    image = inputs[0] if isinstance(inputs, (list, tuple)) and inputs else inputs
    known = isinstance(image, torch.Tensor) and image.ndim == 3
    return image.shape[0] if known else None
