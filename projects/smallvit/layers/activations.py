"""Activations that torch does not have."""

import torch
from torch import Tensor, nn


class QuickGELU(nn.Module):
    """The sigmoid approximation of GELU, ``x * sigmoid(1.702 * x)``.

    The ``1.702`` is the one of `Gaussian Error Linear Units
    <https://arxiv.org/abs/1606.08415>`_; CvT and CLIP were trained with it.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply it element by element."""
        return x * torch.sigmoid(1.702 * x)
