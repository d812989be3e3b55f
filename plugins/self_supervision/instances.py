"""Parametric instance discrimination: every image is its own class."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.models.utils.batch_augments import CutMix
from mmpretrain.structures import DataSample
from torch import Tensor

from smallvit.hosts import vector_of
from smallvit.registry import MODELS


@MODELS.register_module()
class InstanceDiscrimination(BaseSelfSupervisor):
    """Parametric instance discrimination: classify each training image as its own class.

    A linear classifier with one output per image is trained on several crops of each image, with
    CutMix and label smoothing. From `Training Vision Transformers with Only 2040 Images
    <https://arxiv.org/abs/2201.10728>`_.

    Args:
        backbone (dict): Config of the backbone, whose output (map or token) is reduced to a
            vector.
        head (dict): Config of a classification head with ``num_classes``, the number of images;
            its loss must accept soft labels.
        cutmix_alpha (float): Parameter of CutMix's beta distribution; 0 disables CutMix. Defaults
            to 1.
        **kwargs: ``data_preprocessor`` and other arguments of MMPretrain's
            ``BaseSelfSupervisor``.
    """

    def __init__(self, backbone: dict, head: dict, cutmix_alpha: float = 1.0, **kwargs) -> None:
        super().__init__(backbone=backbone, head=head, **kwargs)
        self.cutmix = CutMix(alpha=cutmix_alpha) if cutmix_alpha else None

    def loss(
        self, inputs: Tensor | list[Tensor], data_samples: list[DataSample]
    ) -> dict[str, Tensor]:
        """Compute the mean loss over all crops.

        Args:
            inputs (Tensor | list[Tensor]): Crops (B, C, H, W), of one or several sizes.
            data_samples (list[DataSample]): Samples with ``sample_idx``, the index of the image.

        Returns:
            dict[str, Tensor]: ``loss``.

        Raises:
            ValueError: If the index of an image is not below ``num_classes`` of the head.
        """
        crops = inputs if isinstance(inputs, list) else [inputs]
        numbers = torch.tensor([sample.sample_idx for sample in data_samples])
        classes = self.head.num_classes
        if int(numbers.max()) >= classes:
            raise ValueError(
                f"image {int(numbers.max())} of the training set has no output. Set "
                f"model.head.num_classes, which is {classes}, to the number of images"
            )
        scores = F.one_hot(numbers.to(crops[0].device), classes).to(crops[0].dtype)
        losses = [self._loss(crop, scores) for crop in crops]
        return {"loss": torch.stack(losses).mean()}

    def _loss(self, crop: Tensor, scores: Tensor) -> Tensor:
        if self.cutmix is not None:
            crop, scores = self.cutmix.mix(crop.clone(), scores)
        features = (vector_of(self.backbone(crop)),)
        mixed = [DataSample().set_gt_score(score) for score in scores]
        return self.head.loss(features, mixed)["loss"]
