"""Locality guidance: a small CNN teaches the features of any host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smallvit.plugins.locality_guidance.guidance import LocalityGuidance
from smallvit.plugins.locality_guidance.teacher import Teacher
from smallvit.registry import MODELS

if TYPE_CHECKING:
    from mmpretrain.models import ImageClassifier

    from smallvit.plugins.locality_guidance.classifier import DistilledClsHead

__all__ = [
    "LocalityGuidance",
    "Teacher",
    "build_distilled_head",
    "build_guided_classifier",
]

# What stands on MMPretrain, whose import takes many seconds, is imported when it is built:
# detectors do not wait for it.


@MODELS.register_module(name="GuidedClassifier")
def build_guided_classifier(
    guidance: dict, base: str = "mmpretrain.ImageClassifier", **kwargs
) -> ImageClassifier:
    """Build a classifier whose training is guided by a CNN's features.

    Its checkpoints are those of the plain classifier, which load into it and back; so a
    guided config also tests what a plain one trained, and the other way round. The teacher
    is in no checkpoint, optimizer or bucket of distributed training.

    Args:
        guidance (dict): Arguments of :class:`LocalityGuidance`, without its student.
        base (str): Type of the classifier that is guided, such as
            "smallvit.MultiExitClassifier". Defaults to MMPretrain's.
        **kwargs: Arguments of that classifier.

    Returns:
        ImageClassifier: The classifier, with a field ``guidance``.

    Raises:
        KeyError: If there is no such type.
    """
    from smallvit.plugins.locality_guidance.classifier import attach_guidance

    return attach_guidance(MODELS.build({"type": base, **kwargs}), guidance)


@MODELS.register_module(name="DistilledClsHead")
def build_distilled_head(**kwargs) -> DistilledClsHead:
    """Build a :class:`smallvit.plugins.locality_guidance.classifier.DistilledClsHead`.

    Args:
        **kwargs: Arguments of the class.

    Returns:
        DistilledClsHead: The head.
    """
    from smallvit.plugins.locality_guidance.classifier import DistilledClsHead

    return DistilledClsHead(**kwargs)
