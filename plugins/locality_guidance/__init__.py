"""Locality guidance: feature distillation from a teacher network to any host."""

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

# Classes that depend on MMPretrain, whose import takes many seconds, are imported when they are
# built, so that detectors do not pay for it.


@MODELS.register_module(name="GuidedClassifier")
def build_guided_classifier(
    guidance: dict, base: str = "mmpretrain.ImageClassifier", **kwargs
) -> ImageClassifier:
    """Build a classifier whose training is guided by the features of a teacher.

    Checkpoints of the guided and the plain classifier are interchangeable, so a guided config
    can test a checkpoint trained with a plain one and vice versa. The teacher
    is not part of checkpoints, optimizers or buckets of distributed training.

    Args:
        guidance (dict): Arguments of :class:`LocalityGuidance` except ``student``.
        base (str): Type of the classifier to guide, such as
            "smallvit.MultiExitClassifier". Defaults to "mmpretrain.ImageClassifier".
        **kwargs: Arguments of the classifier.

    Returns:
        ImageClassifier: The classifier, with an attribute ``guidance``.

    Raises:
        KeyError: If ``base`` is not a registered type.
    """
    return attach_guidance(MODELS.build({"type": base, **kwargs}), guidance)


@MODELS.register_module(name="GuidedDetector")
def build_guided_detector(guidance: dict, base: str = "mmdet.MaskRCNN", **kwargs) -> BaseModel:
    """Build a detector whose backbone is guided; see :func:`build_guided_classifier`.

    Args:
        guidance (dict): Arguments of :class:`LocalityGuidance` except ``student``. ``store`` is
            not supported, because the transforms of detectors do not transform stored features.
        base (str): Type of the detector. Defaults to "mmdet.MaskRCNN".
        **kwargs: Arguments of the detector.

    Returns:
        BaseModel: The detector, with an attribute ``guidance``.
    """
    return attach_guidance(MODELS.build({"type": base, **kwargs}), guidance)


@MODELS.register_module(name="GuidedSegmentor")
def build_guided_segmentor(
    guidance: dict, base: str = "mmseg.EncoderDecoder", **kwargs
) -> BaseModel:
    """Build a segmentor whose backbone is guided; see :func:`build_guided_classifier`.

    Args:
        guidance (dict): Arguments of :class:`LocalityGuidance` except ``student``. ``store`` is
            not supported, because the transforms of segmentors do not transform stored features.
        base (str): Type of the segmentor. Defaults to "mmseg.EncoderDecoder".
        **kwargs: Arguments of the segmentor.

    Returns:
        BaseModel: The segmentor, with an attribute ``guidance``.
    """
    return attach_guidance(MODELS.build({"type": base, **kwargs}), guidance)


@MODELS.register_module(name="DistilledClsHead")
def build_distilled_head(**kwargs) -> DistilledClsHead:
    """Build a :class:`smallvit.plugins.locality_guidance.classifier.DistilledClsHead`.

    Args:
        **kwargs: Arguments of the class.

    Returns:
        DistilledClsHead: Head for the class token and the distillation token.
    """
    from smallvit.plugins.locality_guidance.classifier import DistilledClsHead

    return DistilledClsHead(**kwargs)
