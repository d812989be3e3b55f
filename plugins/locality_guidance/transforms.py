"""Stored teacher features in the pipeline: read with the image, cropped and flipped as it is.

A pipeline for offline guidance reads the features first and crops and flips with the
transforms here; ``PackInputs(algorithm_keys=["teacher_features"])`` hands them on. Colours,
and what else leaves pixels where they are, may change in between. Transforms that move pixels
and are not here (rotations, the shears of RandAugment) move the image alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.transforms import BaseTransform, RandomFlip
from mmpretrain.datasets.transforms import RandomCrop, RandomResizedCrop
from torch import Tensor

from smallvit.engine.errors import FeatureStoreError
from smallvit.plugins.locality_guidance.fingerprint import sample_key
from smallvit.plugins.locality_guidance.store import FeatureStore
from smallvit.registry import TRANSFORMS

KEY = "teacher_features"
#: What lies outside of the image, for each ``padding_mode`` of a crop.
_OUTSIDE = {
    "constant": "border",
    "edge": "border",
    "reflect": "reflection",
    "symmetric": "reflection",
}
_FLIPPED_AXES = {"horizontal": (2,), "vertical": (1,), "diagonal": (1, 2)}


class StageMaps(list):
    """Feature maps (C, H, W) of the stages of one sample, a list of tensors."""


def _reduce(maps: StageMaps) -> tuple:
    return _rebuild, ([each.numpy() for each in maps],)


def _rebuild(arrays: list[np.ndarray]) -> StageMaps:
    return StageMaps(torch.from_numpy(each) for each in arrays)


# torch would open a file for each tensor that a worker hands over: several for each sample.
ForkingPickler.register(StageMaps, _reduce)


@TRANSFORMS.register_module()
class LoadTeacherFeatures(BaseTransform):
    """Read the stored teacher features of a sample.

    It comes first in a pipeline, after ``LoadImageFromFile`` if there is one: the features
    are those of the whole image, and a data set in memory is known by its images.

    Required keys: ``sample_idx``, ``gt_label``, and ``img_path`` or ``img``. Added key:
    ``teacher_features``, a list of tensors (C_i, H_i, W_i).

    Args:
        store (str): Folder that ``tools/locality_guidance/precompute.py`` wrote.

    Raises:
        FeatureStoreError: If it is no whole store.
    """

    def __init__(self, store: str) -> None:
        self.store = FeatureStore(store)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add the features of a sample.

        Args:
            results (dict): The sample.

        Returns:
            dict: With ``teacher_features``.

        Raises:
            FeatureStoreError: If the store has another sample there, or none.
        """
        if "sample_idx" not in results:
            raise FeatureStoreError(
                "the data set does not number its samples (no sample_idx), so that their teacher "
                "features cannot be found; use one that derives from MMEngine's BaseDataset"
            )
        arrays = self.store.read(results["sample_idx"], sample_key(results))
        results[KEY] = _rebuild(arrays)
        return results

    def __repr__(self) -> str:
        return f"{type(self).__name__}(store={self.store.path!r})"


def crop_features(
    features: Sequence[Tensor],
    box: tuple[float, float, float, float],
    padding_mode: str = "edge",
) -> StageMaps:
    """Cut the same part out of the maps of all stages and enlarge it to their sizes.

    Args:
        features (Sequence[Tensor]): Maps (C_i, H_i, W_i).
        box (tuple[float, float, float, float]): Top, bottom, left and right edge of the
            part as fractions of height and width; outside of 0 to 1 lies padding.
        padding_mode (str): What is in the padding: "constant" for zeros, "edge",
            "reflect" or "symmetric". Defaults to "edge".

    Returns:
        StageMaps: Maps of the same shapes and types.
    """
    if box == (0.0, 1.0, 0.0, 1.0):
        return StageMaps(features)
    top, bottom, left, right = box
    theta = torch.tensor(
        [[[right - left, 0.0, left + right - 1.0], [0.0, bottom - top, top + bottom - 1.0]]]
    )
    blank = padding_mode == "constant" and (min(top, left) < 0 or max(bottom, right) > 1)
    cropped = StageMaps()
    for feature in features:
        grid = F.affine_grid(theta, (1, *feature.shape), align_corners=False)
        outside = _OUTSIDE[padding_mode]
        # float32: the CPU has no sampling in half precision.
        part = F.grid_sample(
            feature[None].float(), grid, padding_mode=outside, align_corners=False
        )[0]
        if blank:
            height, width = feature.shape[1:]
            part *= _covered(top, bottom, height)[:, None] * _covered(left, right, width)
        cropped.append(part.to(feature.dtype))
    return cropped


def _covered(start: float, end: float, cells: int) -> Tensor:
    """Part of each cell between two fractions of an axis that is inside the image."""
    edges = torch.linspace(start, end, cells + 1).clamp_(0.0, 1.0)
    return edges.diff() * (cells / (end - start))


def _fractions(
    drawn: tuple[int, int, int, int], offset: tuple[int, int], shape: tuple[int, int]
) -> tuple[float, float, float, float]:
    """The box of a crop (top, left, height, width in pixels) as fractions of the image."""
    top, left, height, width = drawn
    top, left = top - offset[0], left - offset[1]
    return top / shape[0], (top + height) / shape[0], left / shape[1], (left + width) / shape[1]


class _Recorded:
    """Keep what a crop of MMPretrain draws."""

    def rand_crop_params(self, img: np.ndarray) -> tuple[int, int, int, int]:
        """Draw as the parent does; see there."""
        self._drawn = super().rand_crop_params(img)
        return self._drawn


@TRANSFORMS.register_module()
class GuidedRandomResizedCrop(_Recorded, RandomResizedCrop):
    """MMPretrain's ``RandomResizedCrop``, which crops the teacher features too.

    Args:
        *args: Those of ``mmpretrain.RandomResizedCrop``.
        **kwargs: Those of ``mmpretrain.RandomResizedCrop``.
    """

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop the image and the features, if the sample has some.

        Args:
            results (dict): The sample, with ``img``.

        Returns:
            dict: The cropped sample; features keep their sizes.
        """
        shape = results["img"].shape[:2]
        results = super().transform(results)
        if KEY in results:
            box = _fractions(self._drawn, (0, 0), shape)
            results[KEY] = crop_features(results[KEY], box)
        return results


@TRANSFORMS.register_module()
class GuidedRandomCrop(_Recorded, RandomCrop):
    """MMPretrain's ``RandomCrop``, which crops the teacher features too.

    Where the image is padded with a constant, the features are zero.

    Args:
        *args: Those of ``mmpretrain.RandomCrop``.
        **kwargs: Those of ``mmpretrain.RandomCrop``.
    """

    def rand_crop_params(self, img: np.ndarray) -> tuple[int, int, int, int]:
        """Draw as the parent does; see there."""
        self._padded = img.shape[:2]
        return super().rand_crop_params(img)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Crop the image and the features, if the sample has some.

        Args:
            results (dict): The sample, with ``img``.

        Returns:
            dict: The cropped sample; features keep their sizes.
        """
        shape = results["img"].shape[:2]
        results = super().transform(results)
        if KEY in results:
            box = _fractions(self._drawn, self._offset(shape), shape)
            # The parent pads with a constant whatever the mode, except to reach the crop's size.
            mode = self.padding_mode if self.padding is None else "constant"
            results[KEY] = crop_features(results[KEY], box, mode)
        return results

    def _offset(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Rows above and columns to the left of the image that padding added."""
        four = isinstance(self.padding, Sequence) and len(self.padding) == 4
        left, top, right, bottom = self.padding if four else (0, 0, 0, 0)
        # All other padding is even on both sides, that to reach the size of the crop too.
        rows = self._padded[0] - shape[0] - top - bottom
        columns = self._padded[1] - shape[1] - left - right
        return top + rows // 2, left + columns // 2


@TRANSFORMS.register_module()
class GuidedRandomFlip(RandomFlip):
    """MMCV's ``RandomFlip``, which flips the teacher features too.

    Args:
        *args: Those of ``mmcv.transforms.RandomFlip``.
        **kwargs: Those of ``mmcv.transforms.RandomFlip``.
    """

    def _flip(self, results: dict[str, Any]) -> None:
        super()._flip(results)
        if KEY in results:
            axes = _FLIPPED_AXES[results["flip_direction"]]
            results[KEY] = StageMaps(feature.flip(axes) for feature in results[KEY])
