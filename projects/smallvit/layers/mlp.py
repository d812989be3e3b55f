"""Feed-forward network of a transformer block."""

import timm.layers
from torch import Tensor

from smallvit.layers.inference import activate


class Mlp(timm.layers.Mlp):
    """timm's MLP with an in-place GELU in inference.

    With large hidden tensors, as in the first stages of a pyramid, allocating a second one
    takes a CPU longer than GELU itself. The arguments are those of :class:`timm.layers.Mlp`.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Apply the MLP to tokens (..., C)."""
        x = activate(self.act, self.fc1(x), self.fc1)
        return self.drop2(self.fc2(self.norm(self.drop1(x))))
