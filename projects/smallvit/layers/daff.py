"""Dynamic aggregation feed-forward (DAFF) of DHVT."""

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from smallvit.layers.conv_norm import conv_norm, pointwise_norm
from smallvit.layers.inference import gelu, needs_intermediates
from smallvit.layers.tokens import map_to_tokens, tokens_to_map


class DAFF(nn.Module):
    """Feed-forward layer with a depth-wise convolution that also recalibrates the class token.

    Patch tokens are reshaped to a map and passed through 1x1, 3x3 depth-wise (with a shortcut
    around it) and 1x1 convolutions, each with batch norm. The class token bypasses them and is
    multiplied channel-wise by a squeeze-and-excitation of the resulting map.

    From `Bridging the Gap Between Vision Transformers and Convolutional Neural Networks
    on Small Datasets <https://arxiv.org/abs/2210.05958>`_.

    Args:
        embed_dims (int): Channels of the tokens.
        feedforward_channels (int): Channels of the hidden layers.
        kernel_size (int): Odd kernel size of the depth-wise convolution. Defaults to 3.
        reduction (int): Ratio of ``embed_dims`` to the hidden width of the excitation.
            Defaults to 4.
        with_shortcut (bool): Whether the input of the depth-wise convolution is added
            to its output. Defaults to True.
        with_excitation (bool): Whether the class token is recalibrated; otherwise it
            passes unchanged. Defaults to True.
        norm_cfg (dict): Config of the norm layers of the convolutions. Defaults to
            ``dict(type="BN")``.
    """

    def __init__(
        self,
        embed_dims: int,
        feedforward_channels: int,
        kernel_size: int = 3,
        reduction: int = 4,
        with_shortcut: bool = True,
        with_excitation: bool = True,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(
                f"DAFF: expected an odd kernel_size, which keeps the size, got {kernel_size}"
            )
        norm_cfg = norm_cfg or dict(type="BN")
        hidden = feedforward_channels
        self.with_shortcut = with_shortcut
        self.with_excitation = with_excitation
        self.conv1 = nn.Conv2d(embed_dims, hidden, 1)
        self.norm1 = build_norm_layer(norm_cfg, hidden)[1]
        self.conv2 = nn.Conv2d(hidden, hidden, kernel_size, padding=kernel_size // 2, groups=hidden)
        self.norm2 = build_norm_layer(norm_cfg, hidden)[1]
        self.conv3 = nn.Conv2d(hidden, embed_dims, 1)
        self.norm3 = build_norm_layer(norm_cfg, embed_dims)[1]
        if with_excitation:
            self.compress = nn.Linear(embed_dims, embed_dims // reduction)
            self.excite = nn.Linear(embed_dims // reduction, embed_dims)

    def aggregate(self, x: Tensor) -> Tensor:
        """Apply the convolutions to the map of the patch tokens.

        Args:
            x (Tensor): Feature map (B, C, H, W).

        Returns:
            Tensor: Feature map of the same shape.
        """
        x = gelu(pointwise_norm(x, self.conv1, self.norm1), self.norm1)
        local = gelu(conv_norm(x, self.conv2, self.norm2), self.norm2)
        if self.with_shortcut:
            local = x + local if needs_intermediates() else local.add_(x)
        return pointwise_norm(local, self.conv3, self.norm3)

    def forward(self, x: Tensor, hw: tuple[int, int]) -> Tensor:
        """Apply the layer.

        Args:
            x (Tensor): Tokens, (B, N, C). The last ``H * W`` are patches in raster
                order; those before them, if any, are class tokens.
            hw (tuple[int, int]): Height and width of the grid of patches.

        Returns:
            Tensor: Tokens of the same shape.

        Raises:
            ValueError: If there are fewer than ``H * W`` tokens.
        """
        num_extra = x.shape[1] - hw[0] * hw[1]
        if num_extra < 0:
            raise ValueError(
                f"DAFF: expected the tokens of a grid of {hw[0]}x{hw[1]} patches, got "
                f"{x.shape[1]} tokens. Pass the grid of the tokens as hw"
            )
        out = self.aggregate(tokens_to_map(x[:, num_extra:], hw))
        if num_extra == 0:
            return map_to_tokens(out)
        # The input may be wider than the output: its first channels belong to the tokens.
        extra = x[:, :num_extra, : self.conv3.out_channels]
        if self.with_excitation:
            weight = self.excite(F.gelu(self.compress(out.mean(dim=(2, 3)))))
            extra = extra * weight.unsqueeze(1)
        return torch.cat((extra, map_to_tokens(out)), dim=1)
