"""Block of DWNet, with depth-wise convolution in place of attention."""

import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from timm.layers import DropPath
from torch import Tensor, nn

from smallvit.layers.conv_norm import conv_norm, pointwise_norm
from smallvit.layers.dynamic_dwconv import DynamicDWConv2d, InhomogeneousDWConv2d
from smallvit.layers.mlp import Mlp

CONVS = ("static", "dynamic", "inhomogeneous")


def build_dwconv(
    conv: str, channels: int, group_channels: int, kernel_size: int, norm_cfg: dict
) -> nn.Module:
    """Build a depth-wise convolution of one of the three types.

    Args:
        conv (str): Type of the convolution: "static", "dynamic" or "inhomogeneous".
        channels (int): Channels of the map.
        group_channels (int): Number of channels that share a kernel; used by "inhomogeneous" only.
        kernel_size (int): Odd kernel size.
        norm_cfg (dict): Config of the norm layers of the kernel predictors.

    Returns:
        nn.Module: Convolution from maps (B, C, H, W) to maps of the same shape.
    """
    if conv == "dynamic":
        return DynamicDWConv2d(channels, kernel_size, norm_cfg=norm_cfg)
    if conv == "inhomogeneous":
        return InhomogeneousDWConv2d(channels, group_channels, kernel_size, norm_cfg=norm_cfg)
    return nn.Conv2d(channels, channels, kernel_size, padding=kernel_size // 2, groups=channels)


class DWMixer(nn.Module):
    """Token mixer of DWNet: 1x1 conv, norm, ReLU; depth-wise conv, norm, ReLU; 1x1 conv, norm.

    Args:
        channels (int): Channels of the map.
        conv (str): Type of the depth-wise convolution, see :func:`build_dwconv`.
        group_channels (int): Number of channels that share a kernel; used by "inhomogeneous" only.
        kernel_size (int): Odd kernel size.
        pad_to_kernel (bool): Whether maps are padded with zeros, at the bottom and right,
            to a multiple of the kernel size before the first 1x1 and cropped at the end.
        norm_cfg (dict): Config of the norm layers.
    """

    def __init__(
        self,
        channels: int,
        conv: str,
        group_channels: int,
        kernel_size: int,
        pad_to_kernel: bool,
        norm_cfg: dict,
    ) -> None:
        super().__init__()
        self.pad_multiple = kernel_size if pad_to_kernel else 1
        self.proj_in = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm_in = build_norm_layer(norm_cfg, channels)[1]
        self.conv = build_dwconv(conv, channels, group_channels, kernel_size, norm_cfg)
        self.norm_conv = build_norm_layer(norm_cfg, channels)[1]
        self.proj_out = nn.Conv2d(channels, channels, 1, bias=False)
        self.norm_out = build_norm_layer(norm_cfg, channels)[1]
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the token mixer.

        Args:
            x (Tensor): Feature map (B, H, W, C).

        Returns:
            Tensor: Feature map (B, H, W, C).
        """
        H, W = x.shape[1:3]
        pad_h, pad_w = -H % self.pad_multiple, -W % self.pad_multiple
        if pad_h or pad_w:
            x = F.pad(x, (0, 0, 0, pad_w, 0, pad_h))
        x = self.act(pointwise_norm(x.permute(0, 3, 1, 2), self.proj_in, self.norm_in))
        x = self.act(self._depthwise(x))
        x = pointwise_norm(x, self.proj_out, self.norm_out).permute(0, 2, 3, 1)
        return x[:, :H, :W] if pad_h or pad_w else x

    def _depthwise(self, x: Tensor) -> Tensor:
        if isinstance(self.conv, nn.Conv2d):
            return conv_norm(x, self.conv, self.norm_conv)
        return self.norm_conv(self.conv(x))


class DWBlock(nn.Module):
    """Block of DWNet: token mixer, then norm and feed-forward, each with a residual.

    Args:
        channels (int): Channels of the map.
        conv (str): Type of the depth-wise convolution, see :func:`build_dwconv`.
            Defaults to "static".
        group_channels (int): Number of channels that share a kernel; used by "inhomogeneous"
            only. Defaults to 1.
        kernel_size (int): Odd kernel size. Defaults to 7.
        mlp_ratio (float): Ratio of the hidden width of the feed-forward to ``channels``.
            Defaults to 4.
        drop_rate (float): Dropout in the feed-forward. Defaults to 0.
        drop_path_rate (float): Stochastic depth rate of both branches. Defaults to 0.
        pad_to_kernel (bool): See :class:`DWMixer`. Defaults to False.
        norm_cfg (dict): Config of the norm layers. Defaults to ``dict(type="BN")``.
    """

    def __init__(
        self,
        channels: int,
        conv: str = "static",
        group_channels: int = 1,
        kernel_size: int = 7,
        mlp_ratio: float = 4.0,
        drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        pad_to_kernel: bool = False,
        norm_cfg: dict = dict(type="BN"),  # noqa: B006
    ) -> None:
        super().__init__()
        self.mixer = DWMixer(channels, conv, group_channels, kernel_size, pad_to_kernel, norm_cfg)
        self.norm = build_norm_layer(norm_cfg, channels)[1]
        self.mlp = Mlp(channels, int(channels * mlp_ratio), drop=drop_rate)
        self.drop_path = DropPath(drop_path_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block.

        Args:
            x (Tensor): Map (B, H, W, C).

        Returns:
            Tensor: Map (B, H, W, C).
        """
        x = x + self.drop_path(self.mixer(x))
        normed = self.norm(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return x + self.drop_path(self.mlp(normed))
