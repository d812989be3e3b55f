"""Sequential overlapping patch embedding (SOPE) of DHVT."""

import torch
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from smallvit.layers.affine import Affine
from smallvit.layers.conv_norm import conv_norm
from smallvit.layers.inference import gelu
from smallvit.layers.tokens import map_to_tokens


class SOPE(nn.Module):
    """Patch embedding with 3x3 convolutions of stride 2 between two affine layers.

    Each convolution halves the resolution, so there are ``log2(patch_size)`` of them; their
    widths double up to ``embed_dims``. GELU follows every convolution but the last, and for
    patch size 2 the only one, as in the official code.

    From `Bridging the Gap Between Vision Transformers and Convolutional Neural Networks
    on Small Datasets <https://arxiv.org/abs/2210.05958>`_.

    Args:
        embed_dims (int): Channels of the tokens; a multiple of ``patch_size / 2``.
        patch_size (int): Downsampling factor of height and width, a power of two of at least 2.
            Defaults to 16.
        in_channels (int): Channels of the image. Defaults to 3.
        with_affine (bool): Whether to learn a scale and shift before and after the
            convolutions. Defaults to True.
        norm_cfg (dict): Config of the norm layers of the convolutions. Defaults to
            ``dict(type="BN")``.

    Raises:
        ValueError: If ``patch_size`` is not a power of two of at least 2, or ``embed_dims`` is not
            a multiple of ``patch_size / 2``.
    """

    def __init__(
        self,
        embed_dims: int,
        patch_size: int = 16,
        in_channels: int = 3,
        with_affine: bool = True,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        num_convs = patch_size.bit_length() - 1
        if num_convs < 1 or 2**num_convs != patch_size:
            raise ValueError(
                f"SOPE: expected patch_size to be a power of two >= 2, got {patch_size}"
            )
        if embed_dims % (patch_size // 2):
            raise ValueError(
                f"SOPE: expected embed_dims to be a multiple of {patch_size // 2} for "
                f"patch_size={patch_size}, got {embed_dims}"
            )
        norm_cfg = norm_cfg or dict(type="BN")
        widths = [embed_dims // 2**i for i in reversed(range(num_convs))]
        self.patch_size = patch_size
        self.pre_affine = Affine(in_channels) if with_affine else nn.Identity()
        self.convs = nn.ModuleList(
            nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False)
            for before, after in zip([in_channels, *widths[:-1]], widths, strict=True)
        )
        self.norms = nn.ModuleList(build_norm_layer(norm_cfg, width)[1] for width in widths)
        self.post_affine = Affine(embed_dims) if with_affine else nn.Identity()

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Compute the size of the token grid of an image.

        Args:
            size (tuple[int, int]): Height and width of the image.

        Returns:
            tuple[int, int]: Number of rows and columns of tokens.
        """
        rows, columns = (-(-side // self.patch_size) for side in size)
        return rows, columns

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed images of any height and width.

        Args:
            x (Tensor): Images, (B, in_channels, H, W).

        Returns:
            tuple[Tensor, tuple[int, int]]: Tokens (B, h * w, embed_dims) and their
            grid (h, w), where ``h = ceil(H / patch_size)``.
        """
        x = self.pre_affine(x.contiguous(memory_format=torch.channels_last))
        for i, (conv, norm) in enumerate(zip(self.convs, self.norms, strict=True)):
            x = conv_norm(gelu(x, norm) if i else x, conv, norm)
        if len(self.convs) == 1:
            x = gelu(x, norm)
        x = self.post_affine(x)
        return map_to_tokens(x), (x.shape[2], x.shape[3])
