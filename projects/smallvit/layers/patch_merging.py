"""Patch merging, which halves the resolution and doubles the channels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class PatchMerging(nn.Module):
    """Patch merging layer: concatenate each 2x2 neighborhood, normalize and project.

    The neighbors are concatenated in the order (0, 0), (1, 0), (0, 1), (1, 1), as in the
    official Swin Transformer. A map of odd height or width is padded with zeros at the bottom
    or right.

    Args:
        embed_dims (int): Channels of the input.
    """

    def __init__(self, embed_dims: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * embed_dims)
        self.reduction = nn.Linear(4 * embed_dims, 2 * embed_dims, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Downsample a feature map by a factor of 2.

        Args:
            x (Tensor): Feature map (B, H, W, C).

        Returns:
            Tensor: Feature map (B, ceil(H / 2), ceil(W / 2), 2 * C).
        """
        H, W = x.shape[1:3]
        if H % 2 or W % 2:
            x = F.pad(x, (0, 0, 0, W % 2, 0, H % 2))
        quarters = [x[:, i::2, j::2] for j in (0, 1) for i in (0, 1)]
        return self.reduction(self.norm(torch.cat(quarters, dim=-1)))
