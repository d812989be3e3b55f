"""1x1 convolutions that serve a training and stay out of the model's checkpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn


class Projection(nn.Conv2d):
    """From a student's channels to its teacher's, in no state dict.

    A guided model's state dict is that of the plain model, so each loads the other's. A
    training that resumes takes the weights from :meth:`training_state`, which
    :class:`smallvit.engine.ResumeHook` stores beside the state dict.

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
        """Weights, for a training that resumes.

        Returns:
            dict[str, Tensor]: ``weight`` (out_channels, in_channels, 1, 1) and ``bias``.
        """
        return {"weight": self.weight.detach(), "bias": self.bias.detach()}

    def load_training_state(self, state: Mapping[str, Tensor]) -> None:
        """Take up the weights of an interrupted training.

        Args:
            state (Mapping[str, Tensor]): What :meth:`training_state` returned.
        """
        for name, value in state.items():
            getattr(self, name).data.copy_(value)
