"""Normalization of images of any number of channels for pretraining."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from mmpretrain.models import SelfSupDataPreprocessor as _OfOneOrThree

from smallvit.registry import MODELS


@MODELS.register_module()
class SelfSupDataPreprocessor(_OfOneOrThree):
    """MMPretrain's ``SelfSupDataPreprocessor`` with support for any number of channels.

    Args:
        mean (Sequence[float]): Mean of each channel.
        std (Sequence[float]): Standard deviation of each channel.
        **kwargs (Any): Other arguments of MMPretrain's class.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], **kwargs: Any) -> None:
        super().__init__(mean=[0.0], std=[1.0], **kwargs)
        for name, values in (("mean", mean), ("std", std)):
            buffer = torch.tensor(values, dtype=torch.float32).view(-1, 1, 1)
            self.register_buffer(name, buffer, persistent=False)
