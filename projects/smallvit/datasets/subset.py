"""Stratified subsets of classification datasets."""

from collections import Counter
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset, force_full_init

from smallvit.registry import DATASETS


@DATASETS.register_module()
class Subset:
    """Stratified subset of any classification dataset.

    The first images of each class are selected, in a fixed random order that depends on ``seed``
    and the size of the dataset. With the same seed, smaller subsets are contained in larger ones.
    ``sample_idx`` of a sample is its index in the whole dataset.

    With ``rest=True``, the complement is selected, such as the training images if the subset is
    held out for validation.

    Args:
        dataset (BaseDataset | dict): Dataset to select from, or its config.
        samples_per_class (int, optional): Number of images per class. Defaults to None.
        fraction (float, optional): Fraction of the images of each class, at least one image.
            Defaults to None. Specify exactly one of ``samples_per_class`` and ``fraction``.
        seed (int): Random seed. Defaults to 0.
        rest (bool): Whether to select the complement. Defaults to False.
        lazy_init (bool): Whether to delay loading the annotations. Defaults to False.

    Raises:
        TypeError: If ``dataset`` is neither a config nor a dataset.
        ValueError: If a setting is out of range, a class has fewer than ``samples_per_class``
            images, a sample has more than one label, or the subset is empty.
    """

    def __init__(
        self,
        dataset: BaseDataset | dict,
        samples_per_class: int | None = None,
        fraction: float | None = None,
        seed: int = 0,
        rest: bool = False,
        lazy_init: bool = False,
    ) -> None:
        if (samples_per_class is None) == (fraction is None):
            raise ValueError("Subset requires either samples_per_class or fraction")
        if samples_per_class is not None and samples_per_class < 1:
            raise ValueError(f"expected samples_per_class >= 1, got {samples_per_class}")
        if fraction is not None and not 0 < fraction <= 1:
            raise ValueError(f"expected fraction in (0, 1], got {fraction}")
        self.dataset = DATASETS.build(dataset) if isinstance(dataset, dict) else dataset
        if not hasattr(self.dataset, "get_cat_ids"):
            raise TypeError(
                f"Subset requires a classification dataset with get_cat_ids, which "
                f"{type(dataset).__name__} does not have"
            )
        self.samples_per_class, self.fraction = samples_per_class, fraction
        self.seed, self.rest = seed, rest
        self._metainfo = self.dataset.metainfo
        self._fully_initialized = False
        if not lazy_init:
            self.full_init()

    @property
    def metainfo(self) -> dict:
        """dict: Metadata of the whole dataset."""
        return deepcopy(self._metainfo)

    def full_init(self) -> None:
        """Load the annotations and select the samples."""
        if self._fully_initialized:
            return
        self.dataset.full_init()
        self._metainfo = self.dataset.metainfo
        labels = np.array([self._label(index) for index in range(len(self.dataset))])
        shuffled = np.random.RandomState(self.seed).permutation(len(labels))
        parts = [
            self._first(shuffled[labels[shuffled] == label], label) for label in np.unique(labels)
        ]
        chosen = np.concatenate(parts)
        if self.rest:
            chosen = np.setdiff1d(shuffled, chosen)
        if not len(chosen):
            raise ValueError(
                f"no sample of {len(labels)} is left. Reduce samples_per_class or fraction"
            )
        self.indices = np.sort(chosen)
        self._fully_initialized = True

    def _label(self, index: int) -> int:
        labels = self.dataset.get_cat_ids(index)
        if len(labels) != 1:
            raise ValueError(f"Subset requires one label per sample, got {len(labels)} in {index}")
        return labels[0]

    def _first(self, indices: np.ndarray, label: int) -> np.ndarray:
        if self.fraction is not None:
            return indices[: max(1, round(self.fraction * len(indices)))]
        if self.samples_per_class > len(indices):
            names = self._metainfo.get("classes") or ()
            name = names[label] if label < len(names) else label
            raise ValueError(
                f"samples_per_class={self.samples_per_class} exceeds the {len(indices)} images "
                f"of class {name!r}. Reduce it, or set fraction instead"
            )
        return indices[: self.samples_per_class]

    @force_full_init
    def get_data_info(self, idx: int) -> dict:
        """Get the annotation of a sample.

        Args:
            idx (int): Index of the sample in the subset.

        Returns:
            dict: Annotation of the sample.
        """
        return self.dataset.get_data_info(int(self.indices[idx]))

    @force_full_init
    def get_cat_ids(self, idx: int) -> list[int]:
        """Get the label of a sample.

        Args:
            idx (int): Index of the sample in the subset.

        Returns:
            list[int]: List with the label of the sample.
        """
        return self.dataset.get_cat_ids(int(self.indices[idx]))

    @force_full_init
    def get_gt_labels(self) -> np.ndarray:
        """Get the labels of all samples.

        Returns:
            np.ndarray: Labels of shape (N, ).
        """
        return np.array([self._label(int(index)) for index in self.indices])

    @force_full_init
    def __len__(self) -> int:
        return len(self.indices)

    @force_full_init
    def __getitem__(self, idx: int) -> Any:
        return self.dataset[int(self.indices[idx])]

    @property
    def load_batch(self) -> Callable[[Sequence[int]], Any] | None:
        """Callable | None: Function that loads a batch, if supported by the dataset (InMemory)."""
        load = getattr(self.dataset, "load_batch", None)
        if load is None:
            return None
        return lambda batch: load([int(self.indices[index]) for index in batch])

    __getitems__ = load_batch  # used by PyTorch's data loader

    @force_full_init
    def unreadable(self, idx: int) -> str | None:
        """Get the reason why an image could not be read, if recorded by the dataset (InMemory).

        Args:
            idx (int): Index of the sample in the subset.

        Returns:
            str | None: Error description, or None if no error was recorded.
        """
        return self.dataset.unreadable(int(self.indices[idx]))

    def __repr__(self) -> str:
        asked = (
            f"samples_per_class={self.samples_per_class}"
            if self.fraction is None
            else f"fraction={self.fraction}"
        )
        asked += ", the others" if self.rest else ""
        head = f"Dataset Subset ({asked}, seed={self.seed}) of:\n{self.dataset!r}"
        if not self._fully_initialized:
            return head
        counts = Counter(self.get_gt_labels().tolist()).values()
        return f"{head}\nSamples: {len(self)}, {min(counts)} to {max(counts)} of each class"
