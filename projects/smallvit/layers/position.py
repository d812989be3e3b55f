"""Position tables, and how position embeddings follow the grid."""

import math

import torch
from timm.layers import resample_abs_pos_embed
from torch import Tensor


def sinusoid_table(num_positions: int, dims: int) -> Tensor:
    """Sines and cosines of positions at geometrically spaced wavelengths.

    Args:
        num_positions (int): Number of positions.
        dims (int): Channels; even ones hold sines, odd ones cosines.

    Returns:
        Tensor: The table, (1, num_positions, dims), computed in float64.
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
    """Resize a position embedding to another grid; the same if the grids are.

    Args:
        pos_embed (Tensor): (1, num_extra + old rows * old columns, C).
        old (tuple[int, int]): Rows and columns that it was made for.
        new (tuple[int, int]): Rows and columns that are wanted.
        num_extra (int): Positions of extra tokens in front, which stay. Defaults to 0.
        mode (str): How to interpolate. Defaults to "bicubic".

    Returns:
        Tensor: (1, num_extra + new rows * new columns, C).
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
    """Resize the position embedding of a checkpoint that was trained at another, square size.

    Anything else stays, for ``load_state_dict`` to refuse.

    Args:
        state_dict (dict): The checkpoint's, changed in place.
        key (str): Its name in there.
        own (Tensor): The model's.
        grid (tuple[int, int]): Rows and columns of the model's.
        num_extra (int): Positions of extra tokens in front. Defaults to 0.
        mode (str): How to interpolate. Defaults to "bicubic".
    """
    loaded = state_dict.get(key)
    if loaded is None or loaded.shape == own.shape:
        return
    count = loaded.shape[1] - num_extra
    side = math.isqrt(max(count, 0))
    if side * side == count and loaded.shape[2] == own.shape[2]:
        state_dict[key] = resize_positions(loaded, (side, side), grid, num_extra, mode)
