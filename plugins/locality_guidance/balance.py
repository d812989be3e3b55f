"""A weight of the guidance that holds the ratio of its gradient to that of the other losses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from mmengine.dist import all_reduce
from torch import Tensor

#: What ``loss_weight`` is called where it is not a number.
BALANCED = "balanced"
#: Steps between measurements: each costs two more backward passes.
INTERVAL = 20


class Balance:
    """Find the weight at which two losses pull the same parameters with the same force.

    The weight is measured at the first step and at each ``interval``-th after it, and stays as it
    is in between. It is not in checkpoints: a resumed run begins with a measurement.

    Args:
        parameters (Sequence[Tensor]): The parameters; those that are frozen are left out.
        ratio (float): Norm of the weighted loss's gradient over that of the others.
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
        """Weigh a loss.

        Args:
            others (Tensor): Sum of the other losses, with its graph.
            loss (Tensor): The loss, not weighted, with its graph.

        Returns:
            Tensor: The weight, without a graph.
        """
        if self._steps % self.interval == 0 and torch.is_grad_enabled():
            one, two = self._norm(others), self._norm(loss)
            measured = torch.stack([one, two])
            all_reduce(measured, "mean")  # one weight for all processes
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
