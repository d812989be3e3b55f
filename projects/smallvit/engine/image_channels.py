"""Check that the images of a pipeline have the channels that the model normalizes."""

from __future__ import annotations

from typing import Any

import torch
from mmcv.transforms import LoadImageFromFile
from mmengine.model import ImgDataPreprocessor
from torch import nn

from smallvit.datasets.parts import transform_of
from smallvit.engine.random_states import preserved


def channel_fault(model: nn.Module, dataset: Any) -> str | None:
    """Report a mismatch between the model's means and the channels of its images.

    Three means silently turn a gray image into three channels; with four channels the
    first step fails with a shape mismatch.

    Args:
        model (nn.Module): The model; one without normalization is not checked.
        dataset (Dataset): A dataset, whose first sample is loaded.

    Returns:
        str | None: A message with the file, the setting and a fix; None if they match.
    """
    preprocessor = getattr(model, "data_preprocessor", None)
    mean = getattr(preprocessor, "mean", None)
    if not isinstance(mean, torch.Tensor):
        return None
    channels = _channels(dataset)
    if channels is None:
        return None
    of_one_or_three = isinstance(preprocessor, ImgDataPreprocessor)
    name = dataset.get_data_info(0).get("img_path") or "the first one"
    images = (
        f"the pipeline returns images with {channels} channel{'s' if channels > 1 else ''} ({name})"
    )
    if mean.numel() not in (1, channels):
        count = 1 if of_one_or_three else channels
        way_out = "or read them in color with color_type='color' in LoadImageFromFile"
        if hasattr(transform_of(dataset, LoadImageFromFile), "reader"):  # smallvit.LoadImageBands
            way_out = "or select as many bands with bands=[...] in smallvit.LoadImageBands"
        elif channels > 3:
            way_out += ", or add dict(type='smallvit.ToColor') after it"
        return (
            f"data_preprocessor.mean has {mean.numel()} values, but {images}. Set {count} of mean "
            f"and std, and in_channels={channels} of the backbone, {way_out}"
        )
    if of_one_or_three and preprocessor._channel_conversion and channels != 3:
        return (
            f"data_preprocessor.bgr_to_rgb (or rgb_to_bgr) requires three channels, but {images}. "
            "Set it to False"
        )
    return None


def _channels(dataset: Any) -> int | None:
    """Channels of the first sample; None if unknown, or if it is not an image."""
    if not hasattr(dataset, "get_data_info") or not len(dataset):
        return None
    with preserved():
        try:
            inputs = dataset[0]["inputs"]
        except Exception:  # training reports samples that cannot be loaded
            return None
    image = inputs[0] if isinstance(inputs, (list, tuple)) and inputs else inputs
    known = isinstance(image, torch.Tensor) and image.ndim == 3
    return image.shape[0] if known else None
