"""Sinusoidal position embeddings, and resizing of position embeddings to other grids."""

import math

import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor


def sinusoid_table(num_positions: int, dims: int) -> Tensor:
    """Compute sinusoidal position embeddings with geometrically spaced wavelengths.

    Args:
        num_positions (int): Length of the sequence.
        dims (int): Channels; even ones contain sines, odd ones cosines.

    Returns:
        Tensor: Embeddings (1, num_positions, dims) in the default dtype, computed in float64.
    """
    position = torch.arange(num_positions, dtype=torch.float64).unsqueeze(1)
    channel = torch.arange(dims)
    exponent = torch.div(channel, 2, rounding_mode="floor").double() * 2 / dims
    angle = position / torch.pow(torch.tensor(10000.0, dtype=torch.float64), exponent)
    table = torch.where(channel % 2 == 0, angle.sin(), angle.cos())
    return table.unsqueeze(0).to(torch.get_default_dtype())


def resize_positions(
    pos_embed: Tensor,
    old: tuple[int, int],
    new: tuple[int, int],
    num_extra: int = 0,
    mode: str = "bicubic",
) -> Tensor:
    """Interpolate a position embedding to another grid, or return it if the grids are equal.

    Args:
        pos_embed (Tensor): Embedding (1, num_extra + old rows * old columns, C).
        old (tuple[int, int]): Rows and columns of the present grid.
        new (tuple[int, int]): Rows and columns of the target grid.
        num_extra (int): Number of leading positions of extra tokens, such as the class token,
            which are not interpolated. Defaults to 0.
        mode (str): Interpolation mode. Defaults to "bicubic".

    Returns:
        Tensor: Embedding (1, num_extra + new rows * new columns, C).
    """
    if tuple(old) == tuple(new):
        return pos_embed
    return resample_abs_pos_embed(pos_embed, new, old, num_extra, mode, antialias=False)


def fit_loaded_positions(
    state_dict: dict[str, Tensor],
    key: str,
    own: Tensor,
    grid: tuple[int, int],
    num_extra: int = 0,
    mode: str = "bicubic",
) -> None:
    """Resize the position embedding of a checkpoint from a square grid to that of the model.

    An embedding that is not of a square grid or has other channels is left unchanged, so that
    ``load_state_dict`` reports it.

    Args:
        state_dict (dict): State dict of the checkpoint, changed in place.
        key (str): Key of the position embedding in ``state_dict``.
        own (Tensor): Position embedding of the model.
        grid (tuple[int, int]): Rows and columns of the model's grid.
        num_extra (int): Number of leading positions of extra tokens. Defaults to 0.
        mode (str): Interpolation mode. Defaults to "bicubic".
    """
    loaded = state_dict.get(key)
    if loaded is None or loaded.shape == own.shape:
        return
    count = loaded.shape[1] - num_extra
    side = math.isqrt(max(count, 0))
    if side * side == count and loaded.shape[2] == own.shape[2]:
        state_dict[key] = resize_positions(loaded, (side, side), grid, num_extra, mode)
