"""Gated positional self-attention on PyTorch's fused attention, for any grid."""

import torch
import torch.nn.functional as F
from timm.models.convit import GPSA
from torch import Tensor, nn


def relative_offsets(grid: tuple[int, int]) -> Tensor:
    """Offsets between all pairs of positions of a grid.

    Args:
        grid (tuple[int, int]): Height and width.

    Returns:
        Tensor: For each query (first axis) and key (second axis) dx, dy and their squared
        distance, (H * W, H * W, 3).
    """
    rows, columns = (torch.arange(side, dtype=torch.float32) for side in grid)
    y = rows.repeat_interleave(grid[1])
    x = columns.repeat(grid[0])
    dy, dx = (axis[None, :] - axis[:, None] for axis in (y, x))
    return torch.stack((dx, dy, dx**2 + dy**2), dim=-1)


class FusedGPSA(nn.Module):
    """timm's ConViT attention with the same parameters and less work.

    The attention map is a mixture, by a learned gate, of a softmax over contents and one
    over positions. Values are mixed by both maps apart, so that the first can be PyTorch's
    fused attention and the second, which is the same for all images, is made once a
    batch. A mixture of two softmaxes sums to one, so the renormalisation of the original
    does nothing. In training, attention dropout falls on both maps apart.

    Args:
        original (GPSA): The module whose parameters are taken over.
        grid (tuple[int, int]): Height and width of the grid; not only squares.
    """

    def __init__(self, original: GPSA, grid: tuple[int, int]) -> None:
        super().__init__()
        self.num_heads = original.num_heads
        self.scale = original.scale
        self.qk = original.qk
        self.v = original.v
        self.proj = original.proj
        self.pos_proj = original.pos_proj
        self.gating_param = original.gating_param
        self.attn_drop = original.attn_drop
        self.proj_drop = original.proj_drop
        self.register_buffer("offsets", relative_offsets(grid), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Attend among the tokens (B, N, C) of the grid."""
        pair = self.qk(x).unflatten(2, (2, self.num_heads, -1))
        query, key = pair.permute(2, 0, 3, 1, 4).unbind(0)
        value = self.v(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        dropout = self.attn_drop.p if self.training else 0.0
        by_content = F.scaled_dot_product_attention(
            query, key, value, dropout_p=dropout, scale=self.scale
        )
        positions = self.pos_proj(self.offsets).permute(2, 0, 1).softmax(dim=-1)
        by_position = self.attn_drop(positions) @ value
        gate = torch.sigmoid(self.gating_param).view(-1, 1, 1)
        out = torch.lerp(by_content, by_position.to(by_content), gate.to(by_content))
        return self.proj_drop(self.proj(out.transpose(1, 2).flatten(2)))
