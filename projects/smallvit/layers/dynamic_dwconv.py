"""Dynamic depth-wise convolutions, whose kernels are predicted from the input."""

import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from smallvit.layers.conv_norm import conv_norm, pointwise_norm
from smallvit.ops import dynamic_dwconv2d, inhomogeneous_dwconv2d


class DynamicDWConv2d(nn.Module):
    """Homogeneous dynamic depth-wise convolution: one kernel for each sample and channel.

    The kernels are predicted from the spatial mean of the map by two 1x1 layers. In training
    mode their batch norm has one value per sample and channel, so the batch size must be at
    least two.

    From `On the Connection between Local Attention and Dynamic Depth-wise Convolution
    <https://arxiv.org/abs/2106.04263>`_.

    Args:
        channels (int): Channels of the map.
        kernel_size (int): Odd kernel size. Defaults to 7.
        reduction (int): Ratio of ``channels`` to those of the hidden layer. Defaults to 4.
        norm_cfg (dict): Config of the norm of the hidden layer. Defaults to ``dict(type="BN")``.
    """

    def __init__(
        self,
        channels: int,
        kernel_size: int = 7,
        reduction: int = 4,
        norm_cfg: dict = dict(type="BN"),  # noqa: B006
    ) -> None:
        super().__init__()
        self.kernel_size = kernel_size
        hidden = channels // reduction
        self.reduce = nn.Conv2d(channels, hidden, 1, bias=False)
        self.norm = build_norm_layer(norm_cfg, hidden)[1]
        self.act = nn.ReLU(inplace=True)
        self.expand = nn.Conv2d(hidden, channels * kernel_size**2, 1)
        self.bias = nn.Parameter(self.expand.weight.new_zeros(channels))

    def kernels(self, x: Tensor) -> Tensor:
        """Predict the kernels of a map.

        Args:
            x (Tensor): Map (B, C, H, W).

        Returns:
            Tensor: Kernels (B, C, kernel_size, kernel_size).
        """
        B, C = x.shape[:2]
        hidden = self.act(pointwise_norm(x.mean((2, 3), keepdim=True), self.reduce, self.norm))
        # For a map of one pixel, a convolution would spend most of its time reordering weights.
        kernels = F.linear(hidden.flatten(1), self.expand.weight.flatten(1), self.expand.bias)
        return kernels.view(B, C, self.kernel_size, self.kernel_size)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve a map with the kernels predicted from it.

        Args:
            x (Tensor): Map (B, C, H, W).

        Returns:
            Tensor: Map (B, C, H, W).
        """
        kernels = self.kernels(x)
        return dynamic_dwconv2d(x.to(kernels.dtype), kernels, self.bias.to(kernels.dtype))


class InhomogeneousDWConv2d(nn.Module):
    """Inhomogeneous dynamic depth-wise convolution: one kernel for each group and position.

    The kernels of a position are predicted from its channels by two 1x1 layers, and are
    shared by groups of adjacent channels.

    From `On the Connection between Local Attention and Dynamic Depth-wise Convolution
    <https://arxiv.org/abs/2106.04263>`_.

    Args:
        channels (int): Channels of the map.
        group_channels (int): Number of channels that share a kernel.
        kernel_size (int): Odd kernel size. Defaults to 7.
        reduction (int): Ratio of ``channels`` to those of the hidden layer. Defaults to 4.
        norm_cfg (dict): Config of the norm of the hidden layer. Defaults to ``dict(type="BN")``.

    Raises:
        ValueError: If ``channels`` is not a multiple of ``group_channels``.
    """

    def __init__(
        self,
        channels: int,
        group_channels: int,
        kernel_size: int = 7,
        reduction: int = 4,
        norm_cfg: dict = dict(type="BN"),  # noqa: B006
    ) -> None:
        super().__init__()
        if channels % group_channels:
            raise ValueError(
                f"expected group_channels to divide the {channels} channels, got {group_channels}"
            )
        hidden = channels // reduction
        self.kernel_taps = kernel_size**2
        self.groups = channels // group_channels
        self.reduce = nn.Conv2d(channels, hidden, 1)
        self.norm = build_norm_layer(norm_cfg, hidden)[1]
        self.act = nn.ReLU(inplace=True)
        self.expand = nn.Conv2d(hidden, self.groups * self.kernel_taps, 1)

    def kernels(self, x: Tensor) -> Tensor:
        """Predict the kernels of a map.

        Args:
            x (Tensor): Map (B, C, H, W).

        Returns:
            Tensor: Kernels (B, groups, kernel_size ** 2, H, W).
        """
        kernels = self.expand(self.act(conv_norm(x, self.reduce, self.norm)))
        return kernels.unflatten(1, (self.groups, self.kernel_taps))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve a map with the kernels predicted from it.

        Args:
            x (Tensor): Map (B, C, H, W).

        Returns:
            Tensor: Map (B, C, H, W).
        """
        kernels = self.kernels(x)
        return inhomogeneous_dwconv2d(x.to(kernels.dtype), kernels)
