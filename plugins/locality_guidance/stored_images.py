"""The images whose maps a store holds, in the order of its rows."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset


class StoredImages(Dataset):
    """Samples, then, if wanted, the samples mirrored left to right, and at last a black image.

    The black image tells what a teacher sees where a student's image is padded: its maps there are
    those of black, not zero.

    Args:
        samples (Dataset): Images (C, H, W), as the teacher's pipeline leaves them: not normalized.
        mirrored (bool): Whether the samples come mirrored too. Defaults to False.
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
        """Load the images from one row on.

        Args:
            start (int): The first row.
            batch_size (int): Images in a batch.
            num_workers (int): Processes that load. Defaults to 0.

        Yields:
            Tensor: (B, C, H, W), as the pipeline leaves them.
        """
        rest = Subset(self, range(start, len(self)))
        yield from DataLoader(rest, batch_size, num_workers=num_workers)
