"""Locality guidance: another network teaches its features to any host."""

from __future__ import annotations

from typing import TYPE_CHECKING

from smallvit.plugins.locality_guidance.attach import attach_guidance
from smallvit.plugins.locality_guidance.guidance import LocalityGuidance
from smallvit.plugins.locality_guidance.teacher import Teacher
from smallvit.registry import MODELS

if TYPE_CHECKING:
    from mmengine.model import BaseModel
    from mmpretrain.models import ImageClassifier

    from smallvit.plugins.locality_guidance.classifier import DistilledClsHead

__all__ = [
    "LocalityGuidance",
    "Teacher",
    "attach_guidance",
    "build_distilled_head",
    "build_guided_classifier",
    "build_guided_detector",
    "build_guided_segmentor",
]

# What stands on MMPretrain, whose import takes many seconds, is imported when it is built:
# detectors do not wait for it.


@MODELS.register_module(name="GuidedClassifier")
def build_guided_classifier(
    guidance: dict, base: str = "mmpretrain.ImageClassifier", **kwargs
) -> ImageClassifier:
    """Build a classifier whose training is guided by another network's features.

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
    return attach_guidance(MODELS.build({"type": base, **kwargs}), guidance)


@MODELS.register_module(name="GuidedDetector")
def build_guided_detector(guidance: dict, base: str = "mmdet.MaskRCNN", **kwargs) -> BaseModel:
    """Build a detector whose backbone is guided; see :func:`build_guided_classifier`.

    Args:
        guidance (dict): Arguments of :class:`LocalityGuidance`, without its student. Features
            are not read from a store, which the pipelines of detectors do not follow.
        base (str): Type of the detector. Defaults to "mmdet.MaskRCNN".
        **kwargs: Arguments of that detector.

    Returns:
        BaseModel: The detector, with a field ``guidance``.
    """
    return attach_guidance(MODELS.build({"type": base, **kwargs}), guidance)


@MODELS.register_module(name="GuidedSegmentor")
def build_guided_segmentor(
    guidance: dict, base: str = "mmseg.EncoderDecoder", **kwargs
) -> BaseModel:
    """Build a segmentor whose backbone is guided; see :func:`build_guided_classifier`.

    Args:
        guidance (dict): Arguments of :class:`LocalityGuidance`, without its student. Features
            are not read from a store, which the pipelines of segmentors do not follow.
        base (str): Type of the segmentor. Defaults to "mmseg.EncoderDecoder".
        **kwargs: Arguments of that segmentor.

    Returns:
        BaseModel: The segmentor, with a field ``guidance``.
    """
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
