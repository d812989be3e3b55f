"""Classifiers with a teacher."""

from __future__ import annotations

from mmpretrain.models import ImageClassifier
from mmpretrain.models.heads import DeiTClsHead
from mmpretrain.structures import DataSample
from torch import Tensor

from smallvit.compat.moved import forward
from smallvit.registry import MODELS

__getattr__ = forward(__name__)


class GuidedLoss:
    """The loss of a guided classifier, in the place of its own.

    Args:
        classifier (ImageClassifier): The classifier, with a field ``guidance``.
    """

    def __init__(self, classifier: ImageClassifier) -> None:
        self.classifier = classifier

    def __call__(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Compute the classifier's own losses, and those of the guidance.

        Args:
            inputs (Tensor): Images, (B, 3, H, W).
            data_samples (list[DataSample]): Their labels.

        Returns:
            dict[str, Tensor]: The losses.
        """
        model = self.classifier
        with model.guidance.watching():
            losses = type(model).loss(model, inputs, data_samples)
            return model.guidance.add_losses(
                losses, inputs, data_samples, preprocessor=model.data_preprocessor
            )


def attach_guidance(classifier: ImageClassifier, guidance: dict) -> ImageClassifier:
    """Let a CNN's features guide the training of a classifier, in place.

    The classifier gets a field ``guidance`` and another ``loss``. It stays of its class and
    keeps its parameters' names, its checkpoints and its way to predict.

    Args:
        classifier (ImageClassifier): MMPretrain's, or of a class that inherits from it.
        guidance (dict): Arguments of :class:`LocalityGuidance`, without the student.

    Returns:
        ImageClassifier: ``classifier``.

    Raises:
        TypeError: If it is no such classifier.
        ValueError: If it is guided already, or the arguments do not fit it.
    """
    if not isinstance(classifier, ImageClassifier):
        raise TypeError(
            f"{type(classifier).__name__} is no ImageClassifier of MMPretrain, which alone can be "
            "guided"
        )
    if isinstance(classifier.loss, GuidedLoss):
        raise ValueError(f"this {type(classifier).__name__} is guided already; build another one")
    settings = {"type": "smallvit.LocalityGuidance", **guidance}
    classifier.guidance = MODELS.build(settings, default_args={"student": classifier})
    classifier.loss = GuidedLoss(classifier)
    return classifier


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
