"""Classification head with a distillation token for guided classifiers of MMPretrain."""

from __future__ import annotations

from mmpretrain.models.heads import DeiTClsHead
from torch import Tensor

from smallvit.compat.moved import forward
from smallvit.plugins.locality_guidance.attach import GuidedLoss, attach_guidance

__all__ = ["DistilledClsHead", "GuidedLoss", "attach_guidance"]

__getattr__ = forward(__name__)


class DistilledClsHead(DeiTClsHead):
    """Head with one linear classifier for the class token and one for the distillation token.

    In training mode, returns the logits of the class token; the output of ``layers.head_dist``
    serves guidance by logits. In evaluation mode, returns the mean of both. The parameters are
    those of MMPretrain's ``DeiTClsHead``, which does not support training.

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Channels of the tokens.
        **kwargs: Other arguments of MMPretrain's head.
    """

    def forward(self, feats: tuple[list[Tensor], ...]) -> Tensor:
        """Compute the logits.

        Args:
            feats (tuple[list[Tensor], ...]): Class and distillation token of each scale,
                (B, C) each.

        Returns:
            Tensor: Logits (B, num_classes).
        """
        cls_token, dist_token = self.pre_logits(feats)
        logits = self.layers.head(cls_token)
        distilled = self.layers.head_dist(dist_token)
        return logits if self.training else (logits + distilled) / 2
