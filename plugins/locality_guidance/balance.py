"""Loss weight from the ratio of gradient norms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce
from torch import Tensor

#: Value of ``loss_weight`` that selects a balanced weight.
BALANCED = "balanced"
#: Steps between measurements, each of which costs two additional backward passes.
INTERVAL = 20


class Balance:
    """Compute the loss weight that gives a fixed ratio of gradient norms.

    The weight is measured at the first step and at each ``interval``-th step after it, and is
    constant in between. It is not saved in checkpoints: a resumed run starts with a measurement.

    Args:
        parameters (Sequence[Tensor]): Parameters of the gradients; frozen ones are ignored.
        ratio (float): Gradient norm of the weighted loss over that of the other losses.
            Defaults to 1.0.
        interval (int): Steps between measurements. Defaults to 20.
    """

    def __init__(
        self, parameters: Sequence[Tensor], ratio: float = 1.0, interval: int = INTERVAL
    ) -> None:
        self.parameters, self.ratio, self.interval = list(parameters), ratio, interval
        self.weight = 0.0
        self._steps = 0

    def __call__(self, others: Tensor, loss: Tensor) -> Tensor:
        """Compute the weight of a loss.

        Args:
            others (Tensor): Sum of the other losses, attached to its graph.
            loss (Tensor): Unweighted loss, attached to its graph.

        Returns:
            Tensor: The weight, detached.
        """
        if self._steps % self.interval == 0 and torch.is_grad_enabled():
            one, two = self._norm(others), self._norm(loss)
            measured = torch.stack([one, two])
            all_reduce(measured, "mean")  # so that all processes use the same weight
            one, two = measured.tolist()
            if two > 0 and torch.isfinite(measured).all():
                self.weight = self.ratio * one / two
        self._steps += 1
        return loss.new_tensor(self.weight)

    def _norm(self, loss: Tensor) -> Tensor:
        wanted = [each for each in self.parameters if each.requires_grad]
        found = torch.autograd.grad(loss, wanted, retain_graph=True, allow_unused=True)
        norms = [each.detach().float().norm() for each in found if each is not None]
        return torch.stack(norms).norm() if norms else loss.new_zeros(()).float()
