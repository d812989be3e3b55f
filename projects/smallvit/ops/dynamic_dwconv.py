"""Dynamic depth-wise convolution: one kernel for each sample and channel."""

import torch.nn.functional as F
from torch import Tensor

from smallvit.ops.checks import check_bias, check_kernel_size, check_pair

__all__ = ["dynamic_dwconv2d"]


def dynamic_dwconv2d(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolve every channel of every sample with a kernel of its own.

    Stride 1, zero padding of half a kernel: the output has the size of the input.

    Args:
        x (Tensor): Feature map (B, C, H, W).
        weight (Tensor): Kernels (B, C, k, k), k odd. A predictor's output of
            C * k * k channels per sample becomes this by
            ``weight.view(B, C, k, k)``.
        bias (Tensor, optional): One value per channel (C,). Defaults to None.

    Returns:
        Tensor: Feature map (B, C, H, W).

    Raises:
        ValueError: If shapes do not match.
        TypeError: If dtypes do not match.
    """
    check_pair("dynamic_dwconv2d", x, weight, 4, "(B, C, k, k)")
    B, C, H, W = x.shape
    k = weight.shape[2]
    check_kernel_size("dynamic_dwconv2d", k, weight.shape[3])
    check_bias("dynamic_dwconv2d", bias, C)
    out = F.conv2d(
        x.reshape(1, B * C, H, W), weight.reshape(B * C, 1, k, k), padding=k // 2, groups=B * C
    ).view(B, C, H, W)
    return out if bias is None else out + bias.view(-1, 1, 1)
