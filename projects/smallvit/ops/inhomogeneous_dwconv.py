"""Inhomogeneous dynamic depth-wise convolution: one kernel for each sample, group and position."""

from math import isqrt

import torch.nn.functional as F
from torch import Tensor

from smallvit.ops.checks import check_bias, check_kernel_size, check_pair

__all__ = ["inhomogeneous_dwconv2d"]


def inhomogeneous_dwconv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve every position of every sample with a kernel of its own.

    The channels are cut into G groups of C / G neighbours; a group shares its kernels.
    Stride 1, zero padding of half a kernel: the output has the size of the input.

    Args:
        x (Tensor): Feature map (B, C, H, W).
        weight (Tensor): Kernels (B, G, k * k, H, W), k odd, with tap ``i * k + j`` for row i
            and column j of a kernel. A predictor's map of G * k * k channels becomes this by
            ``weight.unflatten(1, (G, k * k))``.
        bias (Tensor, optional): One value per channel (C,). Defaults to None.

    Returns:
        Tensor: Feature map (B, C, H, W).

    Raises:
        ValueError: If shapes do not match.
        TypeError: If dtypes do not match.
    """
    op = "inhomogeneous_dwconv2d"
    check_pair(op, x, weight, 5, "(B, G, k * k, H, W)")
    B, C, H, W = x.shape
    G, taps = weight.shape[1:3]
    k = isqrt(taps)
    check_kernel_size(op, k, k)
    check_bias(op, bias, C)
    padded = F.pad(x, (k // 2,) * 4).unflatten(1, (G, C // G))
    out = 0
    for tap in range(taps):
        i, j = divmod(tap, k)
        out = out + padded[..., i : i + H, j : j + W] * weight[:, :, None, tap]
    out = out.flatten(1, 2)
    return out if bias is None else out + bias.view(-1, 1, 1)
