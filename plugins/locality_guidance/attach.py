"""Models with a teacher: classifiers, detectors and segmentors."""

from __future__ import annotations

from mmengine.model import BaseModel
from torch import Tensor, nn

from smallvit.registry import MODELS


class GuidedLoss:
    """The loss of a guided model, in the place of its own.

    Args:
        classifier (BaseModel): The model, with a field ``guidance``.
    """

    def __init__(self, classifier: BaseModel) -> None:
        self.classifier = classifier

    def __call__(self, inputs: Tensor, data_samples: list) -> dict[str, Tensor]:
        """Compute the model's own losses, and those of the guidance.

        Args:
            inputs (Tensor): Images, (B, C, H, W).
            data_samples (list): Their labels, boxes or label maps.

        Returns:
            dict[str, Tensor]: The losses.
        """
        model = self.classifier
        with model.guidance.watching():
            losses = type(model).loss(model, inputs, data_samples)
            return model.guidance.add_losses(
                losses, inputs, data_samples, preprocessor=model.data_preprocessor
            )


def attach_guidance(model: BaseModel, guidance: dict) -> BaseModel:
    """Let a network's features guide the training of a model, in place.

    The model gets a field ``guidance`` and another ``loss``. It stays of its class and
    keeps its parameters' names, its checkpoints and its way to predict.

    Args:
        model (BaseModel): A classifier of MMPretrain, a detector of mmdet or a segmentor of
            mmseg, or of a class that inherits from one: ``backbone`` is guided.
        guidance (dict): Arguments of :class:`LocalityGuidance`, without the student.

    Returns:
        BaseModel: ``model``.

    Raises:
        TypeError: If it is no such model.
        ValueError: If it is guided already, or the arguments do not fit it.
    """
    whole = isinstance(model, BaseModel) and callable(getattr(model, "loss", None))
    if not whole or not isinstance(getattr(model, "backbone", None), nn.Module):
        raise TypeError(
            f"{type(model).__name__} is no model of MMPretrain, mmdet or mmseg with a backbone and "
            "a loss, which alone can be guided"
        )
    if isinstance(model.loss, GuidedLoss):
        raise ValueError(f"this {type(model).__name__} is guided already; build another one")
    settings = {"type": "smallvit.LocalityGuidance", **guidance}
    model.guidance = MODELS.build(settings, default_args={"student": model})
    model.loss = GuidedLoss(model)
    return model
