"""References written as the definition reads: one loop for each tap, no tricks shared with us."""

import torch
from torch import Tensor


def inhomogeneous(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve (B, C, H, W) with (B, G, k * k, H, W), reading the map one position at a time."""
    B, C, H, W = x.shape
    G, k = weight.shape[1], round(weight.shape[2] ** 0.5)
    rows = []
    for h in range(H):
        for w in range(W):
            value = x.new_zeros(B, C)
            for i in range(k):
                for j in range(k):
                    y, z = h + i - k // 2, w + j - k // 2
                    if 0 <= y < H and 0 <= z < W:
                        tap = weight[:, :, i * k + j, h, w].repeat_interleave(C // G, dim=1)
                        value = value + tap * x[:, :, y, z]
            rows.append(value)
    return torch.stack(rows, dim=-1).view(B, C, H, W)


def dynamic(x: Tensor, weight: Tensor) -> Tensor:
    """Convolve (B, C, H, W) with (B, C, k, k): the same kernel at every position."""
    kernels = weight.flatten(2)[..., None, None].expand(-1, -1, -1, *x.shape[2:])
    return inhomogeneous(x, kernels)
