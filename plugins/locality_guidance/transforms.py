"""Transforms that crop and flip stored teacher features together with the image.

A pipeline for offline guidance starts with ``LoadTeacherFeatures`` and crops and flips with the
transforms in this module; ``PackInputs(algorithm_keys=["teacher_features"])`` passes the features
on. Color transforms, and others that do not move pixels, may be used in between. Other
transforms that move pixels (rotations, the shears of RandAugment) only affect the image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmcv.transforms import BaseTransform, RandomFlip
from mmpretrain.datasets.transforms import RandomCrop, RandomResizedCrop

from smallvit.datasets.batch import BatchForm, Change, form_of
from smallvit.datasets.batch.crops import RandomCropForm
from smallvit.datasets.batch.flips import RandomFlipForm
from smallvit.datasets.batch.resized_crops import RandomResizedCropForm
from smallvit.errors import FeatureStoreError
from smallvit.plugins.locality_guidance.fingerprint import sample_key
from smallvit.plugins.locality_guidance.store import FeatureStore
from smallvit.plugins.locality_guidance.windows import StoredSample
from smallvit.registry import TRANSFORMS

KEY = "teacher_features"


@TRANSFORMS.register_module()
class LoadTeacherFeatures(BaseTransform):
    """Add a reference to the stored teacher features of a sample, or the features themselves.

    It must be the first transform, after ``LoadImageFromFile`` if there is one: the features
    are those of the whole image, and samples of a dataset in memory are identified by their
    unmodified images.

    Required keys: ``sample_idx``, ``gt_label``, and ``img_path`` or ``img``. Added key:
    ``teacher_features``, a :class:`StoredSample` that refers to ``guidance.store``; or, with
    ``store``, a :class:`StageMaps` of tensors (C_i, H_i, W_i).

    Args:
        store (str, optional): Folder written by ``tools/locality_guidance/precompute.py``, to
            read the features in the data loading processes, which hides the latency of a
            slow disk. It must be the store of the guidance. Defaults to None.

    Raises:
        FeatureStoreError: If the store is missing or incomplete.
    """

    def __init__(self, store: str | None = None) -> None:
        self.store = None if store is None else FeatureStore(store)

    def transform(self, results: dict[str, Any]) -> dict[str, Any]:
        """Add ``teacher_features`` to a sample.

        Args:
            results (dict): Sample with the required keys.

        Returns:
            dict: Sample with ``teacher_features``.

        Raises:
            FeatureStoreError: If the sample has no index, or is not that of the store.
        """
        if "sample_idx" not in results:
            raise FeatureStoreError(
                "stored features are indexed by sample_idx, which the dataset does not provide. "
                "Use a subclass of MMEngine's BaseDataset"
            )
        sample = StoredSample(results["sample_idx"], sample_key(results))
        results[KEY] = sample if self.store is None else self.store.maps(sample, either=True)
        return results

    def __repr__(self) -> str:
        own = "" if self.store is None else f"store={self.store.path!r}"
        return f"{type(self).__name__}({own})"


def _fractions(
    drawn: tuple[int, int, int, int], offset: tuple[int, int], shape: tuple[int, int]
) -> tuple[float, float, float, float]:
    """Convert the box of a crop (top, left, height, width in pixels) to fractions of the image."""
    top, left, height, width = drawn
    top, left = top - offset[0], left - offset[1]
    return top / shape[0], (top + height) / shape[0], left / shape[1], (left + width) / shape[1]


class _RecordedCrop:
    """Mixin that records the random box of an MMPretrain crop."""

    def rand_crop_params(self, img: np.ndarray) -> tuple[int, int, int, int]:
        """Draw a random box as the base class does, and record it."""
        self._drawn = super().rand_crop_params(img)
        return self._drawn


@TRANSFORMS.register_module()
class GuidedRandomResizedCrop(_RecordedCrop, RandomResizedCrop):
    """MMPretrain's ``RandomResizedCrop`` that also crops the teacher features.

    Args:
        *args: Positional arguments of ``mmpretrain.RandomResizedCrop``.
        **kwargs: Keyword arguments of ``mmpretrain.RandomResizedCrop``.
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
            results[KEY] = results[KEY].showing(results[KEY].window.crop(*box))
        return results


@TRANSFORMS.register_module()
class GuidedRandomCrop(_RecordedCrop, RandomCrop):
    """MMPretrain's ``RandomCrop`` that also crops the teacher features.

    Where the image is padded with zeros, the features are those of a black image (zero if the
    store has none); with ``padding_mode`` "edge", the features at the border are repeated.

    Args:
        *args: Positional arguments of ``mmpretrain.RandomCrop``.
        **kwargs: Keyword arguments of ``mmpretrain.RandomCrop``.

    Raises:
        ValueError: If the padding reflects the image or is not black, which is not supported for
            stored features.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.padding_mode not in ("constant", "edge"):
            raise ValueError(
                "GuidedRandomCrop: stored features support padding_mode 'constant' and 'edge', got "
                f"{self.padding_mode!r}"
            )
        if self.padding_mode == "constant" and np.any(self.pad_val):
            raise ValueError(
                f"GuidedRandomCrop: stored features support only pad_val=0, got {self.pad_val!r}. "
                "Set it to 0, set padding_mode='edge', or use an online teacher"
            )

    def rand_crop_params(self, img: np.ndarray) -> tuple[int, int, int, int]:
        """Draw a random box as the base class does, and record it with the padding."""
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
            # The base class uses constant padding in all modes, except to reach the crop size.
            blank = self.padding is not None or self.padding_mode == "constant"
            results[KEY] = results[KEY].showing(results[KEY].window.crop(*box, blank=blank))
        return results

    def _offset(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Compute the rows above and columns to the left of the image that padding added."""
        four = isinstance(self.padding, Sequence) and len(self.padding) == 4
        left, top, right, bottom = self.padding if four else (0, 0, 0, 0)
        # All other padding is symmetric, including that to reach the size of the crop.
        rows = self._padded[0] - shape[0] - top - bottom
        columns = self._padded[1] - shape[1] - left - right
        return top + rows // 2, left + columns // 2


@TRANSFORMS.register_module()
class GuidedRandomFlip(RandomFlip):
    """MMCV's ``RandomFlip`` that also flips the teacher features.

    Args:
        *args: Positional arguments of ``mmcv.transforms.RandomFlip``.
        **kwargs: Keyword arguments of ``mmcv.transforms.RandomFlip``.
    """

    def _flip(self, results: dict[str, Any]) -> None:
        super()._flip(results)
        if KEY in results:
            window = results[KEY].window.flip(results["flip_direction"])
            results[KEY] = results[KEY].showing(window)


@form_of(LoadTeacherFeatures)
class LoadTeacherFeaturesForm(BatchForm):
    """``LoadTeacherFeatures`` for whole batches; keys are computed before images are stored.

    Args:
        transform (LoadTeacherFeatures): Transform to apply.
    """

    only_looks = True

    def look(self, info: dict[str, Any]) -> dict[str, Any]:
        """Compute the key of a sample; see the base class."""
        return {KEY: StoredSample(info["sample_idx"], sample_key(info))}

    def note(
        self, results: list[dict[str, Any]], change: Change | None, size: tuple[int, int]
    ) -> None:
        """Read the features if the transform has a store; see the base class."""
        if self.transform.store is not None:
            for sample in results:
                sample[KEY] = self.transform.store.maps(sample[KEY], either=True)


@form_of(GuidedRandomCrop)
class GuidedRandomCropForm(RandomCropForm):
    """``GuidedRandomCrop`` for whole batches.

    Args:
        transform (GuidedRandomCrop): Transform to apply.
    """

    def note(
        self, results: list[dict[str, Any]], change: Change | None, size: tuple[int, int]
    ) -> None:
        """Crop the features of the samples like their images; see the base class."""
        height, width = self.size_after(size)
        offset = self.padding[1], self.padding[0]
        places = zip(change.values["tops"].tolist(), change.values["lefts"].tolist(), strict=True)
        for sample, (top, left) in zip(results, places, strict=True):
            _crop_features(sample, ((top, left, height, width), offset, size), blank=True)


@form_of(GuidedRandomResizedCrop)
class GuidedRandomResizedCropForm(RandomResizedCropForm):
    """``GuidedRandomResizedCrop`` for whole batches.

    Args:
        transform (GuidedRandomResizedCrop): Transform to apply.
    """

    def note(
        self, results: list[dict[str, Any]], change: Change | None, size: tuple[int, int]
    ) -> None:
        """Crop the features of the samples like their images; see the base class."""
        for sample, box in zip(results, change.values["boxes"].tolist(), strict=True):
            _crop_features(sample, (tuple(box), (0, 0), size))


@form_of(GuidedRandomFlip)
class GuidedRandomFlipForm(RandomFlipForm):
    """``GuidedRandomFlip`` for whole batches.

    Args:
        transform (GuidedRandomFlip): Transform to apply.
    """

    def note(
        self, results: list[dict[str, Any]], change: Change | None, size: tuple[int, int]
    ) -> None:
        """Flip the features of the samples like their images; see the base class."""
        super().note(results, change, size)
        for sample in results:
            if sample["flip"] and KEY in sample:
                window = sample[KEY].window.flip(sample["flip_direction"])
                sample[KEY] = sample[KEY].showing(window)


def _crop_features(sample: dict[str, Any], drawn: tuple, blank: bool = False) -> None:
    """Crop the features of a sample, if any; ``drawn`` has the arguments of ``_fractions``."""
    if KEY in sample:
        window = sample[KEY].window.crop(*_fractions(*drawn), blank=blank)
        sample[KEY] = sample[KEY].showing(window)
