"""Learnable per-channel scale and shift."""

import torch
from torch import Tensor, nn


class Affine(nn.Module):
    """Multiply each channel of a map by ``alpha`` and add ``beta``.

    Args:
        num_channels (int): Channels of the map.
    """

    def __init__(self, num_channels: int) -> None:
        super().__init__()
        self.alpha = nn.Parameter(torch.ones(1, num_channels, 1, 1))
        self.beta = nn.Parameter(torch.zeros(1, num_channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the scale and shift.

        Args:
            x (Tensor): Feature map (B, C, H, W).

        Returns:
            Tensor: Feature map of the same shape.
        """
        return torch.addcmul(self.beta, x, self.alpha)
