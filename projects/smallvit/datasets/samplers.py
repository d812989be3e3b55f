"""Class-balanced samplers."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dist import get_dist_info, sync_random_seed
from torch.utils.data import Sampler

from smallvit.datasets.labels import read_labels
from smallvit.datasets.parts import parts_of
from smallvit.errors import DataError
from smallvit.registry import DATA_SAMPLERS


@DATA_SAMPLERS.register_module()
class ClassBalancedSampler(Sampler):
    """Sample images so that all classes are drawn equally often.

    An epoch has as many images as the dataset. The classes, in a new random order each round,
    each contribute their next image; once all images of a class were drawn, they are reshuffled.
    Unlike MMEngine's ``ClassBalancedDataset``, which repeats images of rare classes by a power of
    their frequency, all classes become equally frequent.

    Args:
        dataset (Dataset): A classification dataset with one label for each image.
        shuffle (bool): As other samplers have it; True alone makes sense. Defaults to True.
        seed (int, optional): Of the order. Defaults to None: one that all processes share.

    Raises:
        ValueError: If ``shuffle`` is False.
        DataError: If an image has no label, or several.
    """

    def __init__(self, dataset: Any, shuffle: bool = True, seed: int | None = None) -> None:
        if not shuffle:
            raise ValueError("ClassBalancedSampler requires shuffle=True, got False")
        self.rank, self.world_size = get_dist_info()
        self.classes = self._by_class(dataset)
        self.length = math.ceil(len(dataset) / self.world_size)
        self.seed = sync_random_seed() if seed is None else seed
        self.epoch = 0

    @staticmethod
    def _by_class(dataset: Any) -> list[torch.Tensor]:
        dataset = getattr(dataset, "_inner", dataset)
        found: dict[int, list[int]] = {}
        start = 0
        for part in parts_of(dataset):
            labels = read_labels(part)
            if labels is None or any(len(several) != 1 for several in labels):
                raise DataError(
                    "ClassBalancedSampler requires one label per image, which "
                    f"{type(part).__name__} does not provide. Use DefaultSampler"
                )
            for index, (label,) in enumerate(labels, start):
                found.setdefault(label, []).append(index)
            start += len(part)
        if start != len(dataset):
            raise DataError(
                f"ClassBalancedSampler does not support {type(dataset).__name__}, which repeats "
                "images. Use it with the wrapped dataset"
            )
        return [torch.tensor(found[label]) for label in sorted(found)]

    def __iter__(self) -> Iterator[int]:
        """Iterate over the images of an epoch for this process."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        wanted = self.length * self.world_size
        rounds = math.ceil(wanted / len(self.classes))
        drawn = torch.stack([_repeated(each, rounds, generator) for each in self.classes], dim=1)
        order = torch.rand(drawn.shape, generator=generator).argsort(dim=1)
        indices = drawn.gather(1, order).flatten()[:wanted]
        return iter(indices[self.rank :: self.world_size].tolist())

    def __len__(self) -> int:
        """Number of images per epoch for this process."""
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which seeds the order.

        Args:
            epoch (int): Number of the epoch, which the order of the samples depends on.
        """
        self.epoch = epoch


def _repeated(indices: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw a number of indices from successive shuffles."""
    shuffles = math.ceil(count / len(indices))
    parts = [indices[torch.randperm(len(indices), generator=generator)] for _ in range(shuffles)]
    return torch.cat(parts)[:count]
