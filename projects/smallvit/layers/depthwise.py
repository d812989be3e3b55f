"""Depth-wise convolution with batch norm."""

from torch import Tensor, nn

from .conv_norm import conv_norm


class DepthwiseConvBN(nn.Module):
    """Depth-wise convolution without bias, then batch norm; fused in evaluation mode.

    Args:
        channels (int): Channels of the map.
        kernel_size (int): Side of the square kernel. Defaults to 3.
        stride (int): Stride of the convolution. Defaults to 1.
        padding (int): Zero padding added to each side. Defaults to 1.
    """

    def __init__(
        self, channels: int, kernel_size: int = 3, stride: int = 1, padding: int = 1
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            channels, channels, kernel_size, stride, padding, groups=channels, bias=False
        )
        self.bn = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to (B, C, H', W')."""
        return conv_norm(x, self.conv, self.bn)
