"""Conversion between tokens (B, N, C) and maps (B, C, H, W)."""

from torch import Tensor


def tokens_to_map(tokens: Tensor, hw: tuple[int, int]) -> Tensor:
    """View patch tokens as a map, without a copy if the tokens are contiguous.

    Args:
        tokens (Tensor): Patch tokens in raster order, (B, H * W, C).
        hw (tuple[int, int]): Height and width of the grid.

    Returns:
        Tensor: The map (B, C, H, W), in channels-last memory format.
    """
    # With strides in this order a single image also uses the fast channels-last convolutions.
    return tokens.unflatten(1, hw).permute(0, 3, 1, 2)


def map_to_tokens(feature: Tensor) -> Tensor:
    """View a map as patch tokens in raster order, without a copy if it is channels-last.

    Args:
        feature (Tensor): Feature map (B, C, H, W).

    Returns:
        Tensor: Tokens (B, H * W, C).
    """
    return feature.flatten(2).transpose(1, 2)
