"""Data preprocessor that applies the transforms of in-memory datasets."""

from __future__ import annotations

from mmpretrain.models.utils import ClsDataPreprocessor

from smallvit.datasets.in_memory.batches import PendingImages
from smallvit.registry import MODELS


@MODELS.register_module()
class AugmentingPreprocessor(ClsDataPreprocessor):
    """MMPretrain's ``ClsDataPreprocessor`` with the batch transforms of ``smallvit.InMemory``.

    Images are moved to the device of the model as uint8 and augmented there. Batches of other
    datasets are processed as in ``ClsDataPreprocessor``.

    Args:
        *args: Positional arguments of ``mmpretrain.ClsDataPreprocessor``.
        **kwargs: Keyword arguments of ``mmpretrain.ClsDataPreprocessor``.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Augment and normalize a batch, and apply batch augmentations such as Mixup.

        Args:
            data (dict): Batch dict with ``inputs`` and ``data_samples`` from a data loader.
            training (bool): Whether to apply batch augmentations. Defaults to False.

        Returns:
            dict: Batch dict with ``inputs``, float32 (B, C, H, W), and ``data_samples``.
        """
        inputs = data["inputs"]
        if isinstance(inputs, PendingImages):
            data = {**data, "inputs": inputs.to(self.device).changed()}
        return super().forward(data, training)
