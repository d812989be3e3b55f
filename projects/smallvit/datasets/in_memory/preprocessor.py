"""Data preprocessor that applies the transforms of in-memory datasets."""

from __future__ import annotations

from mmpretrain.models.utils import ClsDataPreprocessor

from smallvit.datasets.in_memory.batches import PendingImages
from smallvit.registry import MODELS


@MODELS.register_module()
class AugmentingPreprocessor(ClsDataPreprocessor):
    """MMPretrain's ``ClsDataPreprocessor``, which first does what ``smallvit.InMemory`` drew.

    The images go to the model's device as bytes, and are cropped, flipped and colored there.
    Other batches are treated as by the parent.

    Args:
        *args: Those of ``mmpretrain.ClsDataPreprocessor``.
        **kwargs: Those of ``mmpretrain.ClsDataPreprocessor``.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        """Augment, normalize and mix a batch.

        Args:
            data (dict): ``inputs`` and ``data_samples`` of a data loader.
            training (bool): Whether to mix images. Defaults to False.

        Returns:
            dict: ``inputs``, float32 (B, C, H, W), and ``data_samples``.
        """
        inputs = data["inputs"]
        if isinstance(inputs, PendingImages):
            data = {**data, "inputs": inputs.to(self.device).changed()}
        return super().forward(data, training)
