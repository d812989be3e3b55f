"""Concatenation of datasets without labels and duplicates, for self-supervised pretraining."""

from __future__ import annotations

import hashlib
import os
import os.path as osp
from collections.abc import Iterator, Sequence
from typing import Any

from mmengine.dataset import Compose
from mmengine.logging import print_log

from smallvit.errors import DataError
from smallvit.registry import DATASETS, TRANSFORMS


@DATASETS.register_module()
class WithoutLabels:
    """Concatenate datasets without their labels, for self-supervised pretraining.

    ``sample_idx`` numbers the images of all datasets consecutively. Files in several datasets are
    used once. Evaluation images, given by ``without``, are excluded, including copies under
    another name. The number of excluded images is logged.

    Args:
        datasets (Sequence[dict]): Configs of the datasets to concatenate.
        without (Sequence[dict]): Configs of datasets with images to exclude from all but the
            first dataset. Defaults to an empty tuple.
        pipeline (Sequence[dict | Callable]): Transforms or their configs. The pipelines of the
            datasets are not used. Defaults to an empty tuple.

    Raises:
        DataError: If no images remain.
    """

    def __init__(
        self, datasets: Sequence[dict], without: Sequence[dict] = (), pipeline: Sequence = ()
    ) -> None:
        self.datasets = [DATASETS.build(each) for each in datasets]
        self.pipeline = Compose(
            [TRANSFORMS.build(each) if isinstance(each, dict) else each for each in pipeline]
        )
        measuring = [DATASETS.build(each) for each in without]
        self._places = list(self._choose(_Files(measuring)))
        if not self._places:
            raise DataError("WithoutLabels: no image is left after removing evaluation images")

    def _choose(self, left_out: _Files) -> Iterator[tuple[int, int]]:
        seen: set[str] = set()
        omitted = 0
        for number, dataset in enumerate(self.datasets):
            for index in range(len(dataset)):
                path = dataset.get_data_info(index).get("img_path")
                real = None if path is None else osp.realpath(path)
                if real in seen:
                    continue
                if number and real is not None and real in left_out:
                    omitted += 1
                    continue
                if real is not None:
                    seen.add(real)
                yield number, index
        if omitted:
            print_log(
                f"{omitted} unlabeled images are skipped because they are used for evaluation",
                "current",
            )

    @property
    def metainfo(self) -> dict:
        """dict: Empty meta information, because there are no classes."""
        return {}

    def full_init(self) -> None:
        """Do nothing, because the images are listed on construction."""

    def get_data_info(self, idx: int) -> dict[str, Any]:
        """Get the annotation of a sample.

        Args:
            idx (int): Index of the sample.

        Returns:
            dict: Sample dict without a label.
        """
        number, index = self._places[idx]
        info = self.datasets[number].get_data_info(index)
        for key in ("gt_label", "gt_score"):
            info.pop(key, None)
        info["sample_idx"] = idx
        return info

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, idx: int) -> Any:
        sample = self.pipeline(self.get_data_info(idx))
        if sample is None:
            raise DataError(f"image {idx}: the transforms returned no sample")
        return sample


class _Files:
    """Set of dataset files, identified by path and content."""

    def __init__(self, datasets: Sequence) -> None:
        paths = {
            osp.realpath(path)
            for dataset in datasets
            for path in (dataset.get_data_info(i).get("img_path") for i in range(len(dataset)))
            if path is not None
        }
        self._paths = paths
        self._of_size: dict[int, list[str]] = {}
        for path in paths:
            if osp.isfile(path):
                self._of_size.setdefault(os.path.getsize(path), []).append(path)
        self._digests: dict[int, set[str]] = {}

    def __contains__(self, path: str) -> bool:
        if path in self._paths:
            return True
        size = os.path.getsize(path) if osp.isfile(path) else -1
        if size not in self._of_size:
            return False
        if size not in self._digests:
            self._digests[size] = {_digest(each) for each in self._of_size[size]}
        return _digest(path) in self._digests[size]


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.sha256(file.read()).hexdigest()
