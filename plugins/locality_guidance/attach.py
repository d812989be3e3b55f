"""Attach guidance to classifiers, detectors and segmentors."""

from __future__ import annotations

from mmengine.model import BaseModel
from torch import Tensor, nn

from smallvit.registry import MODELS


class GuidedLoss:
    """Replacement for the ``loss`` of a model that adds the losses of its guidance.

    Args:
        classifier (BaseModel): Model with an attribute ``guidance``.
    """

    def __init__(self, classifier: BaseModel) -> None:
        self.classifier = classifier

    def __call__(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Compute the losses of the model and those of the guidance.

        Args:
            inputs (Tensor): Images, (B, C, H, W).
            data_samples (list): Samples with labels, boxes or label maps.

        Returns:
            dict[str, Tensor]: Losses by name.
        """
        model = self.classifier
        with model.guidance.recording():
            losses = type(model).loss(model, inputs, data_samples)
            return model.guidance.add_losses(
                losses, inputs, data_samples, preprocessor=model.data_preprocessor
            )


def attach_guidance(model: BaseModel, guidance: dict) -> BaseModel:
    """Guide the training of a model by the features of a teacher, in place.

    Adds an attribute ``guidance`` and replaces ``loss``. The class of the model, its parameter
    names, checkpoints and predictions are unchanged.

    Args:
        model (BaseModel): A classifier of MMPretrain, a detector of mmdet or a segmentor of
            mmseg, or an instance of a subclass; its ``backbone`` is guided.
        guidance (dict): Arguments of :class:`LocalityGuidance` except ``student``.

    Returns:
        BaseModel: ``model``.

    Raises:
        TypeError: If it is not such a model.
        ValueError: If the model is already guided, or the arguments do not match it.
    """
    whole = isinstance(model, BaseModel) and callable(getattr(model, "loss", None))
    if not whole or not isinstance(getattr(model, "backbone", None), nn.Module):
        raise TypeError(
            f"guidance requires a model of MMPretrain, mmdet or mmseg with a backbone and a loss, "
            f"got {type(model).__name__}"
        )
    if isinstance(model.loss, GuidedLoss):
        raise ValueError(f"this {type(model).__name__} already has guidance. Build a new model")
    settings = {"type": "smallvit.LocalityGuidance", **guidance}
    model.guidance = MODELS.build(settings, default_args={"student": model})
    model.loss = GuidedLoss(model)
    return model
