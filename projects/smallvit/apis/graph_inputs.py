"""Example inputs to export and verify graphs with."""

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
    """Prepare example inputs for a graph.

    Args:
        predictor (Predictor): Predictor whose pipeline is applied.
        preprocesses (bool): Whether the graph includes the normalization.
        images (Sequence, optional): Images, as accepted by a predictor. Defaults to None:
            photographs.
        precision (str): Precision of the graph; below "fp32" the photographs are split into
            pieces, because two images are too few to measure how often decisions differ. Defaults
            to "fp32".

    Returns:
        Tensor: Two or more images (B, C, H, W); images of other sizes than the first are dropped.
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
    if predictor.steps.bands is not None:
        raise UserError(
            f"the model expects {predictor.steps.bands.channels} bands, but the default test "
            "images are photographs. Pass images with --images"
        )
    from sklearn.datasets import load_sample_images

    found = [np.ascontiguousarray(image[:, :, ::-1]) for image in load_sample_images().images]
    if predictor.steps.color_type == "grayscale":
        return [image.mean(axis=2).astype(np.uint8) for image in found]
    if predictor.steps.color_type != "color":
        raise UserError(
            f"no example images for color_type={predictor.steps.color_type!r}. Pass images with "
            "--images"
        )
    return found


def _pieces(image: np.ndarray, count: int = 4) -> list[np.ndarray]:
    return [
        np.ascontiguousarray(piece)
        for row in np.array_split(image, count, axis=0)
        for piece in np.array_split(row, count, axis=1)
    ]
