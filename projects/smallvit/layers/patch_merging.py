"""Patch merging: half the resolution, twice the channels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchMerging(nn.Module):
    """Join each 2x2 neighborhood, normalize and project to twice the channels.

    The neighbors are joined in the order (0, 0), (1, 0), (0, 1), (1, 1), as in the
    official Swin Transformer. A map of odd size is padded with zeros at the bottom
    and right.

    Args:
        embed_dims (int): Channels of the input.
    """

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * embed_dims)
        self.reduction = nn.Linear(4 * embed_dims, 2 * embed_dims, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Halve a map.

        Args:
            x (Tensor): Map (B, H, W, C).

        Returns:
            Tensor: Map (B, ceil(H / 2), ceil(W / 2), 2 * C).
        """
        H, W = x.shape[1:3]
        if H % 2 or W % 2:
            x = F.pad(x, (0, 0, 0, W % 2, 0, H % 2))
        quarters = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.reduction(self.norm(torch.cat(quarters, dim=-1)))
