"""Classifiers with a teacher."""

from __future__ import annotations

from functools import cache

from mmpretrain.models import ImageClassifier
from mmpretrain.models.heads import DeiTClsHead
from mmpretrain.structures import DataSample
from torch import Tensor

from smallvit.registry import MODELS


class GuidedClassifier(ImageClassifier):
    """What guidance adds to a classifier; :func:`attach_guidance` makes one of any."""

    def init_weights(self) -> None:
        """Initialise the student, and make the teacher ready; only training calls this."""
        super().init_weights()
        self.guidance.prepare()

    def loss(self, inputs: Tensor, data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Compute the classifier's own losses, and those of the guidance.

        Args:
            inputs (Tensor): Images, (B, 3, H, W).
            data_samples (list[DataSample]): Their labels.

        Returns:
            dict[str, Tensor]: The losses.
        """
        with self.guidance.watching():
            losses = super().loss(inputs, data_samples)
            return self.guidance.add_losses(
                losses, inputs, data_samples, preprocessor=self.data_preprocessor
            )


@cache
def _guided(base: type) -> type:
    if base is ImageClassifier:
        return GuidedClassifier
    return type(f"Guided{base.__name__}", (GuidedClassifier, base), {"__doc__": base.__doc__})


def attach_guidance(classifier: ImageClassifier, guidance: dict) -> ImageClassifier:
    """Let a CNN's features guide the training of a classifier, in place.

    The classifier gets a field ``guidance`` and keeps its parameters' names, its
    checkpoints and its way to predict.

    Args:
        classifier (ImageClassifier): MMPretrain's, or of a class that inherits from it.
        guidance (dict): Arguments of :class:`LocalityGuidance`, without the student.

    Returns:
        ImageClassifier: ``classifier``.

    Raises:
        TypeError: If it is no such classifier.
        ValueError: If it is guided already, or the arguments do not fit it.
    """
    if isinstance(classifier, GuidedClassifier):
        raise ValueError(f"{type(classifier).__name__} is guided already; build another one")
    if not isinstance(classifier, ImageClassifier):
        raise TypeError(
            f"{type(classifier).__name__} is no ImageClassifier of MMPretrain, which alone can be "
            "guided"
        )
    settings = {"type": "smallvit.LocalityGuidance", **guidance}
    classifier.guidance = MODELS.build(settings, default_args={"student": classifier})
    classifier.__class__ = _guided(type(classifier))
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
