"""The tokens-to-token module of T2T-ViT."""

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn

from smallvit.layers.token_encoder import TokenPerformer, TokenTransformer
from smallvit.layers.tokens import map_to_tokens, tokens_to_map

TOKEN_ENCODERS = {"performer": TokenPerformer, "transformer": TokenTransformer}


class TokensToToken(nn.Module):
    """Patch embedding with attention between overlapping patches before they are merged.

    Soft splits (overlapping patches) alternate with token encoders; the last split and the
    projection after it are computed as one convolution.

    From `Tokens-to-Token ViT <https://arxiv.org/abs/2101.11986>`_.

    Args:
        embed_dims (int): Channels of the output tokens.
        in_channels (int): Channels of the image. Defaults to 3.
        token_encoder (str): Type of the token encoders, "performer" or "transformer".
            Defaults to "performer".
        token_dims (int): Channels between the splits. Defaults to 64.
        kernel_sizes (Sequence[int]): Patch sizes of the splits. Defaults to (7, 3, 3).
        strides (Sequence[int]): Strides of the splits. Defaults to (4, 2, 2).
        paddings (Sequence[int]): Zero padding of the splits. Defaults to (2, 1, 1).
        drop_rate (float): Dropout in the token encoders. Defaults to 0.
        norm_cfg (dict): Config of the norms of the token encoders. Defaults to
            ``dict(type="LN")``.

    Raises:
        ValueError: If ``token_encoder`` is unknown, there are fewer than two splits, or the
            numbers of kernel sizes, strides and paddings differ.
    """

    def __init__(
        self,
        embed_dims: int,
        in_channels: int = 3,
        token_encoder: str = "performer",
        token_dims: int = 64,
        kernel_sizes: Sequence[int] = (7, 3, 3),
        strides: Sequence[int] = (4, 2, 2),
        paddings: Sequence[int] = (2, 1, 1),
        drop_rate: float = 0.0,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        if token_encoder not in TOKEN_ENCODERS:
            raise ValueError(
                f"expected token_encoder to be one of {list(TOKEN_ENCODERS)}, got {token_encoder!r}"
            )
        if not 2 <= len(kernel_sizes) == len(strides) == len(paddings):
            raise ValueError(
                "expected kernel_sizes, strides and paddings of the same length, at least two, got "
                f"{kernel_sizes}, {strides} and {paddings}"
            )
        encoder = TOKEN_ENCODERS[token_encoder]
        self.splits = list(zip(kernel_sizes, strides, paddings, strict=True))
        widths = [in_channels] + [token_dims] * (len(self.splits) - 2)
        self.encoders = nn.ModuleList(
            encoder(width * kernel**2, token_dims, drop_rate=drop_rate, norm_cfg=norm_cfg)
            for width, kernel in zip(widths, kernel_sizes[:-1], strict=True)
        )
        self.projection = nn.Linear(token_dims * kernel_sizes[-1] ** 2, embed_dims)

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Compute the size of the token grid of an image.

        Args:
            size (tuple[int, int]): Height and width of the image.

        Returns:
            tuple[int, int]: Number of rows and columns of tokens.
        """
        for split in self.splits:
            size = _grid(size, split)
        return size

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed images of any height and width.

        Args:
            x (Tensor): Images, (B, in_channels, H, W).

        Returns:
            tuple[Tensor, tuple[int, int]]: Tokens (B, h * w, embed_dims) and the grid (h, w).
        """
        for encoder, split in zip(self.encoders, self.splits[:-1], strict=True):
            kernel, stride, padding = split
            hw = _grid(x.shape[2:], split)
            patches = F.unfold(x, kernel, padding=padding, stride=stride)
            x = tokens_to_map(encoder(patches.transpose(1, 2)), hw)
        kernel, stride, padding = self.splits[-1]
        weight = self.projection.weight.unflatten(1, (x.shape[1], kernel, kernel))
        x = F.conv2d(x, weight, self.projection.bias, stride, padding)
        return map_to_tokens(x), (x.shape[2], x.shape[3])


def _grid(size: Sequence[int], split: tuple[int, int, int]) -> tuple[int, int]:
    kernel, stride, padding = split
    rows, columns = ((side + 2 * padding - kernel) // stride + 1 for side in size)
    return rows, columns
