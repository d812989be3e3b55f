"""The feed-forward part of a transformer block."""

import timm.layers
from torch import Tensor

from smallvit.layers.inference import activate


class Mlp(timm.layers.Mlp):
    """timm's MLP, whose GELU needs no memory of its own in inference.

    Where hidden tokens are large, on the first maps of a pyramid, that memory costs a CPU
    more time than GELU itself. Takes the arguments of timm's.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Transform tokens (..., C)."""
        x = activate(self.act, self.fc1(x), self.fc1)
        return self.drop2(self.fc2(self.norm(self.drop1(x))))
