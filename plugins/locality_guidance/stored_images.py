"""Dataset of the images of a store, in the order of its rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset


class StoredImages(Dataset):
    """Dataset of samples, then optionally the horizontally flipped samples, then a black image.

    The black image provides the teacher's features where a student's image is padded, which are
    not zero.

    Args:
        samples (Dataset): Images (C, H, W) from the teacher's pipeline, not normalized.
        mirrored (bool): Whether to add the flipped samples. Defaults to False.
    """

    def __init__(self, samples: Dataset, mirrored: bool = False) -> None:
        self.samples, self.mirrored = samples, mirrored

    def __len__(self) -> int:
        return len(self.samples) * (1 + self.mirrored) + 1

    def __getitem__(self, row: int) -> Tensor:
        if row == len(self) - 1:
            return torch.zeros_like(self.samples[0])
        image = self.samples[row % len(self.samples)]
        return image if row < len(self.samples) else image.flip(-1)

    def batches(self, start: int, batch_size: int, num_workers: int = 0) -> Iterator[Tensor]:
        """Load the images in batches, starting at a given row.

        Args:
            start (int): Index of the first row.
            batch_size (int): Images per batch.
            num_workers (int): Number of data loading processes. Defaults to 0.

        Yields:
            Tensor: Images (B, C, H, W), not normalized.
        """
        rest = Subset(self, range(start, len(self)))
        yield from DataLoader(rest, batch_size, num_workers=num_workers)
