"""Self-distillation between crops, with a moving average of the student as teacher."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from mmengine.dist import all_reduce
from mmengine.model import BaseModule
from mmpretrain.models.selfsup import BaseSelfSupervisor
from mmpretrain.models.utils import CosineEMA
from mmpretrain.structures import DataSample
from torch import Tensor, nn

from smallvit.hosts import vector_of
from smallvit.registry import MODELS


@MODELS.register_module()
class PrototypeNeck(BaseModule):
    """MLP that computes cosine similarities between a vector and normalized prototypes.

    Args:
        in_channels (int): Channels of the input vector.
        hid_channels (int): Channels of the hidden layers. Defaults to 512.
        bottleneck (int): Channels of the embedding and the prototypes. Defaults to 128.
        num_prototypes (int): Number of learnable prototypes. Defaults to 1024.
    """

    def __init__(
        self,
        in_channels: int,
        hid_channels: int = 512,
        bottleneck: int = 128,
        num_prototypes: int = 1024,
    ) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(in_channels, hid_channels),
            nn.GELU(),
            nn.Linear(hid_channels, hid_channels),
            nn.GELU(),
            nn.Linear(hid_channels, bottleneck),
        )
        self.prototypes = nn.Parameter(torch.empty(num_prototypes, bottleneck))
        nn.init.trunc_normal_(self.prototypes, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the cosine similarity to each prototype.

        Args:
            x (Tensor): (B, in_channels).

        Returns:
            Tensor: Cosine similarities, (B, num_prototypes).
        """
        return F.linear(F.normalize(self.mlp(x), dim=-1), F.normalize(self.prototypes, dim=-1))


@MODELS.register_module()
class ViewPrediction(BaseSelfSupervisor):
    """Predict the teacher's output for one large crop from another crop of the same image.

    The teacher is an exponential moving average of the student. Its outputs are centered and
    sharpened to prevent collapse. From `How to Train Vision Transformer on Small-scale Datasets?
    <https://arxiv.org/abs/2210.07240>`_, which uses the loss of DINO.

    Args:
        backbone (dict): Config of the backbone, whose output (map or token) is reduced to a
            vector.
        neck (dict): Config of :class:`PrototypeNeck`.
        num_global (int): Number of large crops, which come first. Defaults to 2.
        momentum (float): Weight of the student in an update of the average, decayed to 0 by a
            cosine schedule. Defaults to 0.004.
        student_temperature (float): Divisor of the student's logits. Defaults to 0.1.
        teacher_temperature (float): Divisor of the teacher's centered logits. Defaults to 0.04.
        center_momentum (float): Weight of a batch in the moving mean of the teacher's outputs.
            Defaults to 0.1.
        **kwargs: ``data_preprocessor`` and other arguments of MMPretrain's
            ``BaseSelfSupervisor``.

    Raises:
        ValueError: If ``num_global`` is less than 1.
    """

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        num_global: int = 2,
        momentum: float = 0.004,
        student_temperature: float = 0.1,
        teacher_temperature: float = 0.04,
        center_momentum: float = 0.1,
        **kwargs,
    ) -> None:
        if num_global < 1:
            raise ValueError(f"ViewPrediction: expected num_global >= 1, got {num_global}")
        super().__init__(backbone=backbone, neck=neck, **kwargs)
        self.num_global = num_global
        self.student_temperature = student_temperature
        self.teacher_temperature = teacher_temperature
        self.center_momentum = center_momentum
        self.teacher = CosineEMA(nn.ModuleList((self.backbone, self.neck)), momentum=momentum)
        self.register_buffer("center", torch.zeros(len(self.neck.prototypes)))

    def loss(self, inputs: list[Tensor], data_samples: list[DataSample]) -> dict[str, Tensor]:
        """Compute the mean cross-entropy over all pairs of a teacher crop and another student crop.

        Args:
            inputs (list[Tensor]): Crops (B, C, H, W), the large ones first.
            data_samples (list[DataSample]): Not used.

        Returns:
            dict[str, Tensor]: ``loss``.

        Raises:
            ValueError: If there are fewer than ``num_global`` or fewer than two crops.
        """
        needed = max(2, self.num_global)
        if not isinstance(inputs, list) or len(inputs) < needed:
            raise ValueError(
                f"ViewPrediction requires at least {needed} crops per image, which the transform "
                "MultiView creates"
            )
        with torch.no_grad():
            answers = [self._teacher_answer(crop) for crop in inputs[: self.num_global]]
            targets = [
                ((answer - self.center) / self.teacher_temperature).softmax(-1)
                for answer in answers
            ]
            self._move_center(torch.cat(answers))
            self.teacher.update_parameters(nn.ModuleList((self.backbone, self.neck)))
        guesses = [
            self.neck(vector_of(self.backbone(crop))) / self.student_temperature for crop in inputs
        ]
        losses = [
            F.cross_entropy(guess, target)
            for view, target in enumerate(targets)
            for other, guess in enumerate(guesses)
            if other != view
        ]
        return {"loss": torch.stack(losses).mean()}

    def _teacher_answer(self, crop: Tensor) -> Tensor:
        backbone, neck = self.teacher.module
        return neck(vector_of(backbone(crop)))

    def _move_center(self, answers: Tensor) -> None:
        mean = answers.mean(dim=0)
        all_reduce(mean, op="mean")
        self.center.lerp_(mean.to(self.center), self.center_momentum)
