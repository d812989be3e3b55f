"""Patch embedding by one strided convolution."""

from torch import Tensor, nn

from smallvit.layers.tokens import map_to_tokens


class PatchEmbed(nn.Module):
    """Cut an image into patches and project each.

    Rows and columns that do not fill a patch are left out; an image smaller than one
    patch is refused by the convolution.

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
        """Grid of an image.

        Args:
            size (tuple[int, int]): Height and width of the image.

        Returns:
            tuple[int, int]: Rows and columns of patches.
        """
        patch, padding = self.projection.stride[0], self.projection.padding[0]
        return tuple((side + 2 * padding) // patch for side in size)

    def forward(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Embed images.

        Args:
            x (Tensor): Images, (B, in_channels, H, W).

        Returns:
            tuple[Tensor, tuple[int, int]]: Tokens (B, h * w, embed_dims) and the grid.
        """
        x = self.projection(x)
        return map_to_tokens(x), (x.shape[2], x.shape[3])
