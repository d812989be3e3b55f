"""Position tables."""

import torch
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
