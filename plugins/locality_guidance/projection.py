"""1x1 convolutions that are used for training only and excluded from state dicts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class Projection(nn.Conv2d):
    """1x1 convolution from a student's channels to its teacher's, excluded from state dicts.

    The state dict of a guided model is that of the plain model, so that each loads the other's.
    A resumed run loads the weights of :meth:`training_state`, which
    :class:`smallvit.engine.ResumeHook` saves next to the state dict.

    Args:
        in_channels (int): Channels of the student's map.
        out_channels (int): Channels of the teacher's map.
    """

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, kernel_size=1)

    def _save_to_state_dict(self, destination: dict, prefix: str, keep_vars: bool) -> None:
        pass

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        pass

    def training_state(self) -> dict[str, Tensor]:
        """Return the weights to save for a resumed run.

        Returns:
            dict[str, Tensor]: ``weight`` (out_channels, in_channels, 1, 1) and ``bias``.
        """
        return {"weight": self.weight.detach(), "bias": self.bias.detach()}

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """Load the weights in a resumed run.

        Args:
            state (Mapping[str, Tensor]): Output of :meth:`training_state`.
        """
        for name, value in state.items():
            getattr(self, name).data.copy_(value)
