"""Batches passed from the in-memory dataset to the data preprocessor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import torch
from mmengine.dataset import default_collate
from mmengine.logging import print_log
from torch import Tensor

from smallvit.datasets.batch import Change
from smallvit.errors import UserError
from smallvit.registry import FUNCTIONS


class PendingImages:
    """Images of a batch with pending transforms, which are applied on the device of the model.

    Args:
        images (Tensor): uint8 images (B, C, H, W).
        changes (Sequence[Change]): Transforms with sampled parameters, in order.
    """

    def __init__(self, images: Tensor, changes: Sequence[Change]) -> None:
        self.images, self.changes = images, list(changes)

    def __len__(self) -> int:
        return len(self.images)

    def __iter__(self) -> NoReturn:
        raise UserError(
            "images of smallvit.InMemory are augmented by the data preprocessor. Set "
            "data_preprocessor.type='smallvit.AugmentingPreprocessor', which accepts the arguments "
            "of ClsDataPreprocessor"
        )

    def __getitem__(self, _: Any) -> NoReturn:
        iter(self)

    def _map(self, function: Any) -> PendingImages:
        changes = [change.map_tensors(function) for change in self.changes]
        return PendingImages(function(self.images), changes)

    def to(self, device: str | torch.device, non_blocking: bool = True) -> PendingImages:
        """Move the images and the parameters of the transforms to a device.

        Args:
            device (str | torch.device): Target device.
            non_blocking (bool): Whether to copy asynchronously. Defaults to True.

        Returns:
            PendingImages: Images and transforms on the device.
        """
        return self._map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self, device: Any = None) -> PendingImages:
        """Copy the tensors to pinned memory; called by torch's ``DataLoader``."""
        return self._map(Tensor.pin_memory)

    def changed(self) -> Tensor:
        """Apply the pending transforms.

        Returns:
            Tensor: Transformed images (B, C, h, w), uint8 or float32.
        """
        images = self.images
        # Under autocast, pixels would be computed in half precision.
        with torch.autocast(images.device.type, enabled=False):
            for change in self.changes:
                images = change(images)
        return images


@dataclass
class ImageBatch:
    """Batch of samples that are loaded together.

    Args:
        images (PendingImages | Tensor): Images; a uint8 tensor (B, C, H, W) if no transforms are
            pending.
        samples (list[DataSample]): Annotations of the images.
        bad (tuple): Samples that were replaced; see
            :class:`smallvit.engine.guarded_loader.GuardedLoader`. Defaults to ().
    """

    images: PendingImages | Tensor
    samples: list = field(default_factory=list)
    bad: tuple = ()

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[NoReturn]:
        raise UserError(
            "smallvit.InMemory returns whole batches. Set "
            "collate_fn=dict(type='smallvit.collate_in_memory') in the data loader"
        )

    def __getitem__(self, _: int) -> NoReturn:
        iter(self)


_said: set[str] = set()


@FUNCTIONS.register_module()
def collate_in_memory(samples: ImageBatch | Sequence[dict]) -> dict[str, Any]:
    """Collate samples of :class:`smallvit.datasets.in_memory.InMemory`.

    Args:
        samples (ImageBatch | Sequence[dict]): Batch of the dataset. Single samples from a dataset
            wrapper are collated with the default collate function.

    Returns:
        dict: Batch dict with ``inputs`` and ``data_samples``.
    """
    if isinstance(samples, ImageBatch):
        return {"inputs": samples.images, "data_samples": samples.samples}
    return default_collate(samples)


def say_once(text: str) -> None:
    """Print a warning only once.

    Args:
        text (str): Text of the warning.
    """
    if text not in _said:
        _said.add(text)
        print_log(text, logger="current", level=30)
