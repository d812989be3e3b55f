"""Patch embedding with a strided convolution."""

from torch import Tensor, nn

from smallvit.layers.tokens import map_to_tokens


class PatchEmbed(nn.Module):
    """Patch embedding of images of any size.

    Rows and columns at the end that do not fill a patch are ignored; the convolution raises an
    error for an image smaller than one patch.

    Args:
        embed_dims (int): Channels of the tokens.
        patch_size (int): Height and width of a patch. Defaults to 16.
        in_channels (int): Channels of the image. Defaults to 3.
        padding (int): Zeros added on each side. Defaults to 0.
    """

    def __init__(
        self, embed_dims: int, patch_size: int = 16, in_channels: int = 3, padding: int = 0
    ) -> None:
        super().__init__()
        self.projection = nn.Conv2d(
            in_channels, embed_dims, patch_size, stride=patch_size, padding=padding
        )

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """Compute the size of the patch grid of an image.

        Args:
            size (tuple[int, int]): Height and width of the image.

        Returns:
            tuple[int, int]: Number of rows and columns of patches.
        """
        patch, padding = self.projection.stride[0], self.projection.padding[0]
        return tuple((side + 2 * padding) // patch for side in size)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed images.

        Args:
            x (Tensor): Images, (B, in_channels, H, W).

        Returns:
            tuple[Tensor, tuple[int, int]]: Tokens (B, h * w, embed_dims) and the grid (h, w).
        """
        x = self.projection(x)
        return map_to_tokens(x), (x.shape[2], x.shape[3])
