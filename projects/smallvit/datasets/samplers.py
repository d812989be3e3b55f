"""Class-balanced sampling."""

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
    """Sampler that draws all classes with equal frequency.

    An epoch has as many samples as the dataset. In each round, the next image of every class is
    drawn, in a new random order of the classes. The images of a class are reshuffled after all of
    them have been drawn. Unlike MMEngine's ``ClassBalancedDataset``, which repeats images of rare
    classes by a power of their frequency, all classes become equally frequent.

    Args:
        dataset (Dataset): Classification dataset with one label per image.
        shuffle (bool): For compatibility with other samplers; must be True. Defaults to True.
        seed (int, optional): Random seed. Defaults to None, which uses a random seed shared by
            all processes.

    Raises:
        ValueError: If ``shuffle`` is False.
        DataError: If an image does not have exactly one label.
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
        """Iterate over the sample indices of an epoch for this process."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        wanted = self.length * self.world_size
        rounds = math.ceil(wanted / len(self.classes))
        drawn = torch.stack([_repeated(each, rounds, generator) for each in self.classes], dim=1)
        order = torch.rand(drawn.shape, generator=generator).argsort(dim=1)
        indices = drawn.gather(1, order).flatten()[:wanted]
        return iter(indices[self.rank :: self.world_size].tolist())

    def __len__(self) -> int:
        """Return the number of samples per epoch for this process."""
        return self.length

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, so that each epoch has a different sample order.

        Args:
            epoch (int): Epoch number, used with the seed to determine the sample order.
        """
        self.epoch = epoch


def _repeated(indices: torch.Tensor, count: int, generator: torch.Generator) -> torch.Tensor:
    """Draw ``count`` indices from successive shuffles."""
    shuffles = math.ceil(count / len(indices))
    parts = [indices[torch.randperm(len(indices), generator=generator)] for _ in range(shuffles)]
    return torch.cat(parts)[:count]
