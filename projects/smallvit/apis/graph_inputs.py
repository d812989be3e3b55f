"""Images that graphs are made with and compared on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from smallvit.apis.graphs import Preprocessing
from smallvit.apis.predictor import Predictor
from smallvit.errors import UserError


def input_images(
    predictor: Predictor,
    preprocesses: bool,
    images: Sequence[Any] | None = None,
    precision: str = "fp32",
) -> Tensor:
    """Prepare images for a graph.

    Args:
        predictor (Predictor): The model.
        preprocesses (bool): Whether the graph normalizes them.
        images (Sequence, optional): As a predictor takes them. Defaults to None: photographs.
        precision (str): What the graph computes in; lower ones get the photographs in pieces,
            because two images say little of how often they decide otherwise. Defaults to "fp32".

    Returns:
        Tensor: Two or more, (B, C, H, W), of the first one's size.
    """
    if not images:
        images = _photographs(predictor)
        if precision != "fp32":
            images = [piece for image in images for piece in _pieces(image)]
    arrays = [predictor.read(image) for image in images]
    packed = [predictor.steps(array)["inputs"] for array in arrays]
    packed = [each for each in packed if each.shape == packed[0].shape]
    packed += packed[:1] if len(packed) == 1 else []
    inputs = torch.stack(packed).float()
    return (
        inputs if preprocesses else Preprocessing(predictor.model.data_preprocessor.cpu())(inputs)
    )


def _photographs(predictor: Predictor) -> list[np.ndarray]:
    from sklearn.datasets import load_sample_images

    found = [np.ascontiguousarray(image[:, :, ::-1]) for image in load_sample_images().images]
    if predictor.steps.color_type == "grayscale":
        return [image.mean(axis=2).astype(np.uint8) for image in found]
    if predictor.steps.color_type != "color":
        raise UserError("the model reads images as they are: name some by --images")
    return found


def _pieces(image: np.ndarray, count: int = 4) -> list[np.ndarray]:
    return [
        np.ascontiguousarray(piece)
        for row in np.array_split(image, count, axis=0)
        for piece in np.array_split(row, count, axis=1)
    ]
