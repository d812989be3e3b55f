"""MLP with the sigmoid approximation of GELU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# From section 2 of https://arxiv.org/abs/1606.08415.
QUICK_GELU_SLOPE = 1.702


class QuickGELUMlp(nn.Module):
    """MLP with the activation ``x * sigmoid(1.702 * x)``, with which CvT was trained.

    The activation is ``silu(1.702 * x) / 1.702``. Both factors are folded into the matrix
    products, so that a single pass over the hidden tokens remains.

    Args:
        embed_dims (int): Channels of input and output.
        hidden_dims (int): Channels of the hidden layer.
        drop_rate (float): Dropout after both layers. Defaults to 0.
    """

    def __init__(self, embed_dims: int, hidden_dims: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.fc1 = nn.Linear(embed_dims, hidden_dims)
        self.fc2 = nn.Linear(hidden_dims, embed_dims)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the MLP to tokens (B, N, embed_dims)."""
        slope, flat = QUICK_GELU_SLOPE, x.flatten(0, 1)
        hidden = torch.addmm(self.fc1.bias, flat, self.fc1.weight.t(), beta=slope, alpha=slope)
        hidden = self.drop(F.silu(hidden))
        out = torch.addmm(self.fc2.bias, hidden, self.fc2.weight.t(), alpha=1 / slope)
        return self.drop(out).unflatten(0, x.shape[:2])
