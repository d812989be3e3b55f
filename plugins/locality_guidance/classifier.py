"""What guided classifiers of MMPretrain need besides: a head with a distillation token."""

from __future__ import annotations

from mmpretrain.models.heads import DeiTClsHead
from torch import Tensor

from smallvit.compat.moved import forward
from smallvit.plugins.locality_guidance.attach import GuidedLoss, attach_guidance

__all__ = ["DistilledClsHead", "GuidedLoss", "attach_guidance"]

__getattr__ = forward(__name__)


class DistilledClsHead(DeiTClsHead):
    """Two classifiers, of the class token and of the distillation token.

    In training the class token's logits are returned, and what ``layers.head_dist`` returns
    is for guidance by logits; in evaluation their mean. MMPretrain's ``DeiTClsHead``, whose
    parameters it has, cannot be trained.

    Args:
        num_classes (int): Number of classes.
        in_channels (int): Channels of the tokens.
        **kwargs: Other arguments of MMPretrain's head.
    """

    def forward(self, feats: tuple[list[Tensor], ...]) -> Tensor:
        """Classify.

        Args:
            feats (tuple[list[Tensor], ...]): Of each scale, class and distillation token,
                (B, C) each.

        Returns:
            Tensor: Logits (B, num_classes).
        """
        cls_token, dist_token = self.pre_logits(feats)
        logits = self.layers.head(cls_token)
        distilled = self.layers.head_dist(dist_token)
        return logits if self.training else (logits + distilled) / 2
