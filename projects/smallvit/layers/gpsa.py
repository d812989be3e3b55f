"""Gated positional self-attention (GPSA) of ConViT with factorized positions, for any grid."""

import torch
from einops import rearrange
from timm.models.convit import GPSA
from torch import Tensor, nn

from smallvit.layers.attention_form import attend
from smallvit.layers.heads import join_heads, split_heads, split_joint


def offset_table(side: int) -> Tensor:
    """Offsets between all pairs of positions along one side of a grid.

    Args:
        side (int): Number of rows or columns.

    Returns:
        Tensor: Offsets (side, side), from the position of the first axis to that of the second.
    """
    positions = torch.arange(side, dtype=torch.float32)
    return positions[None, :] - positions[:, None]


class FusedGPSA(nn.Module):
    """Gated positional self-attention with the parameters of timm's ``GPSA`` and fewer operations.

    A learned gate combines content attention and positional attention. Both are applied to the
    values separately, so that the content part is standard attention. The logits of the positional
    part are the sum of a function of the horizontal and a function of the vertical offset.
    Its softmax is therefore the product of a softmax along the rows and one along the columns,
    which are applied one after the other, without computing the map of all pairs. A convex
    combination of two softmaxes sums to one, so the original's renormalization has no effect and
    is omitted. In training, attention dropout is applied to each map separately.

    Args:
        original (GPSA): The module whose parameters are reused.
        grid (tuple[int, int]): Height and width of the grid, which need not be equal.
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
        self.register_buffer("rows", offset_table(grid[0]), persistent=False)
        self.register_buffer("columns", offset_table(grid[1]), persistent=False)

    def position_maps(self) -> tuple[Tensor, Tensor]:
        """Compute the positional attention along each axis of the grid.

        Returns:
            tuple[Tensor, Tensor]: Attention between rows (num_heads, H, H) and between columns
            (num_heads, W, W). Their product is the attention between positions.
        """
        # The projection takes dx, dy and dx^2 + dy^2.
        across, down, squared = self.pos_proj.weight.view(self.num_heads, 3, 1, 1).unbind(1)
        rows = self.rows * down + self.rows.square() * squared
        columns = self.columns * across + self.columns.square() * squared
        # The bias cancels in the softmax, but DDP fails on a parameter without a gradient.
        rows = rows + self.pos_proj.bias.view(-1, 1, 1)
        return rows.softmax(dim=-1), columns.softmax(dim=-1)

    def mix_by_position(self, value: Tensor) -> Tensor:
        """Apply the positional attention to values.

        Args:
            value (Tensor): Values (B, H * W, C), with the channels of each head contiguous.

        Returns:
            Tensor: Weighted sums of the values, (B, num_heads, H * W, C // num_heads).
        """
        rows, columns = self.position_maps()
        H, W = rows.shape[1], columns.shape[1]
        if self.training and self.attn_drop.p:
            pairs = rows[:, :, None, :, None] * columns[:, None, :, None, :]
            pairs = self.attn_drop(pairs.reshape(-1, H * W, H * W))
            return pairs @ split_heads(value, self.num_heads)
        # One matrix product per head for the whole batch, along the rows, then along the columns.
        B, heads = value.shape[0], self.num_heads
        value = rearrange(value, "b (y x) (n c) -> n x (b y c)", y=H, x=W, n=heads)
        mixed = rearrange(torch.bmm(columns, value), "n x (b y c) -> n y (b x c)", b=B, y=H)
        return rearrange(torch.bmm(rows, mixed), "n y (b x c) -> b n (y x) c", b=B, x=W)

    def forward(self, x: Tensor) -> Tensor:
        """Apply attention to the tokens (B, N, C) of the grid."""
        query, key = split_joint(self.qk(x), 2, self.num_heads)
        value = self.v(x)
        by_content = attend(
            query,
            key,
            split_heads(value, self.num_heads),
            dropout_p=self.attn_drop.p if self.training else 0.0,
            scale=self.scale,
        )
        by_position = self.mix_by_position(value)
        gate = torch.sigmoid(self.gating_param).view(-1, 1, 1)
        out = torch.lerp(by_content, by_position.to(by_content), gate.to(by_content))
        return self.proj_drop(self.proj(join_heads(out)))
