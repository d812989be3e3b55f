"""ResNet for 32x32 images with depth 6n + 2."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from torch import Tensor, nn

from smallvit.backbones.base.common import freeze, resolve_indices
from smallvit.layers.checkpointing import checkpoint_once
from smallvit.layers.conv_norm import conv_norm
from smallvit.registry import MODELS

HE_INIT = {
    "type": "Kaiming",
    "layer": "Conv2d",
    "mode": "fan_out",
    "nonlinearity": "relu",
    "distribution": "normal",
}


class BasicBlock(nn.Module):
    """Basic residual block of two 3x3 convolutions, with a 1x1 projection if shapes differ.

    Args:
        in_channels (int): Channels of the input.
        out_channels (int): Channels of the output.
        stride (int): Stride of the first convolution. Defaults to 1.
        with_cp (bool): Whether to use gradient checkpointing. Defaults to False.
    """

    def __init__(
        self, in_channels: int, out_channels: int, stride: int = 1, with_cp: bool = False
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.downsample = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False),
                nn.BatchNorm2d(out_channels),
            )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H / stride, W / stride)."""
        if self.with_cp and x.requires_grad:
            return checkpoint_once(self, self._residual, x)
        return self._residual(x)

    def _residual(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else conv_norm(x, *self.downsample)
        x = F.relu_(conv_norm(x, self.conv1, self.bn1))
        return F.relu_(shortcut + conv_norm(x, self.conv2, self.bn2))


@MODELS.register_module()
class CifarResNet(BaseModule):
    """CIFAR ResNet of the ResNet paper (section 4.2): three stages of 16, 32 and 64 channels.

    `Deep Residual Learning for Image Recognition <https://arxiv.org/abs/1512.03385>`_, with
    projection shortcuts as in pycls. It is the teacher of locality guidance. MMPretrain's
    ``ResNet_CIFAR`` is a different network, a wide ImageNet ResNet with a small stem.

    Args:
        depth (int): Number of weighted layers, ``6 n + 2``, e.g. 20, 56 or 110.
            Defaults to 56.
        in_channels (int): Channels of the image. Defaults to 3.
        base_channels (int): Channels of the stem and the first stage; each later stage has
            twice as many. Defaults to 16.
        out_indices (int | Sequence[int]): Stages whose maps (B, C_i, H_i, W_i) are
            returned; feed them to ``GlobalAveragePooling`` to classify. Defaults to -1.
        frozen_stages (int): The stem and the stages ``0 .. frozen_stages`` are not trained;
            -1 trains all. Defaults to -1.
        with_cp (bool): Whether to use gradient checkpointing. Defaults to False.
        init_cfg (dict | list[dict], optional): MMEngine initialization. Defaults to He's
            normal distribution over the fan-out.

    Raises:
        ValueError: If ``depth`` is not of the form 6 n + 2.

    Examples:
        >>> import torch
        >>> from smallvit.backbones import CifarResNet
        >>> model = CifarResNet(20)
        >>> outputs = model(torch.rand(1, 3, 32, 32))
        >>> tuple(outputs[-1].shape)
        (1, 64, 8, 8)
    """

    num_stages = 3

    def __init__(
        self,
        depth: int = 56,
        in_channels: int = 3,
        base_channels: int = 16,
        out_indices: int | Sequence[int] = -1,
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: dict | list | None = HE_INIT,
    ) -> None:
        super().__init__(init_cfg)
        if depth < 8 or (depth - 2) % 6:
            near = max(8, 6 * round((depth - 2) / 6) + 2)
            raise ValueError(f"expected depth = 6 n + 2, got {depth}. The nearest is {near}")
        if not -1 <= frozen_stages < self.num_stages:
            raise ValueError(
                f"expected frozen_stages from -1 to {self.num_stages - 1}, got {frozen_stages}"
            )
        self.out_indices = resolve_indices(out_indices, self.num_stages)
        self.frozen_stages = frozen_stages
        self.conv1 = nn.Conv2d(in_channels, base_channels, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(base_channels)
        self.embed_dims = tuple(base_channels * 2**stage for stage in range(self.num_stages))
        self.stages = nn.ModuleList()
        channels = base_channels
        for stage, width in enumerate(self.embed_dims):
            blocks = []
            for index in range((depth - 2) // 6):
                stride = 2 if stage > 0 and index == 0 else 1
                blocks.append(BasicBlock(channels, width, stride, with_cp))
                channels = width
            self.stages.append(nn.Sequential(*blocks))
        self._freeze()

    def _freeze(self) -> None:
        if self.frozen_stages >= 0:
            freeze([self.conv1, self.bn1, *self.stages[: self.frozen_stages + 1]])

    def train(self, mode: bool = True) -> "CifarResNet":
        """Set the mode; frozen stages stay in evaluation mode."""
        super().train(mode)
        self._freeze()
        return self

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Run the backbone.

        Args:
            x (Tensor): Images (B, C, H, W).

        Returns:
            tuple[Tensor, ...]: Maps of the stages in ``out_indices``.
        """
        if x.device.type == "cpu" and self.embed_dims[0] >= 8:
            # Narrow convolutions run a quarter faster on a CPU in this format. With fewer channels,
            # oneDNN's weight gradient of a 1x1 convolution with stride 2 writes outside its buffer
            # (torch 2.14 on AVX2) and crashes the process.
            x = x.contiguous(memory_format=torch.channels_last)
        x = F.relu_(conv_norm(x, self.conv1, self.bn1))
        maps = []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return tuple(maps[index] for index in self.out_indices)
