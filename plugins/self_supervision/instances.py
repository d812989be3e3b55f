"""Every image is a class of its own."""

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
    """Parametric instance discrimination: tell each training image from all others.

    A linear classifier with an output for each image is trained on several crops of it, with
    CutMix and label smoothing. The method of `Training Vision Transformers with Only 2040 Images
    <https://arxiv.org/abs/2201.10728>`_.

    Args:
        backbone (dict): Config of the backbone, of which a vector is made of whatever map or
            token it returns.
        head (dict): A classifier's head with ``num_classes``, the number of images; its loss takes
            soft labels.
        cutmix_alpha (float): Parameter of CutMix's beta distribution, 0 for none. Defaults to 1.
        **kwargs: ``data_preprocessor`` and other arguments of MMPretrain's
            ``BaseSelfSupervisor``.
    """

    def __init__(self, backbone: dict, head: dict, cutmix_alpha: float = 1.0, **kwargs) -> None:
        super().__init__(backbone=backbone, head=head, **kwargs)
        self.cutmix = CutMix(alpha=cutmix_alpha) if cutmix_alpha else None

    def loss(
        self, inputs: Tensor | list[Tensor], data_samples: list[DataSample]
    ) -> dict[str, Tensor]:
        """Compute the loss of all crops.

        Args:
            inputs (Tensor | list[Tensor]): Crops (B, C, H, W), of one size or several.
            data_samples (list[DataSample]): They hold ``sample_idx``, the number of the image.

        Returns:
            dict[str, Tensor]: ``loss``.

        Raises:
            ValueError: If an image has a number beyond the outputs of the head.
        """
        crops = inputs if isinstance(inputs, list) else [inputs]
        numbers = torch.tensor([sample.sample_idx for sample in data_samples])
        classes = self.head.num_classes
        if int(numbers.max()) >= classes:
            raise ValueError(
                f"image {int(numbers.max())} of the training set has no output: set "
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
