"""Classification head with one linear classifier per exit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from smallvit.registry import MODELS

if TYPE_CHECKING:
    from mmpretrain.structures import DataSample


@MODELS.register_module()
class MultiExitHead(BaseModule):
    """Linear classification head per exit; the loss is the weighted sum over the exits.

    Args:
        num_classes (int): Number of classes.
        in_channels (int | Sequence[int]): Channels of each exit's vector; an int if they are
            equal for all ``num_exits`` exits.
        num_exits (int): Number of exits, used if ``in_channels`` is an int. Defaults to 3.
        loss (dict): Config of the loss of one exit. Defaults to
            ``dict(type="mmpretrain.CrossEntropyLoss")``.
        loss_weights (Sequence[float], optional): Weight of each exit's loss. Defaults to
            None, which means 1 for each.
        init_cfg (dict | list, optional): Initialization config. Defaults to
            ``dict(type="TruncNormal", layer="Linear", std=0.02)``.

    Raises:
        ValueError: If the numbers of ``in_channels`` and ``loss_weights`` differ.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int | Sequence[int],
        num_exits: int = 3,
        loss: dict | None = None,
        loss_weights: Sequence[float] | None = None,
        init_cfg: dict | list | None = None,
    ) -> None:
        super().__init__(init_cfg or dict(type="TruncNormal", layer="Linear", std=0.02))
        channels = [in_channels] * num_exits if isinstance(in_channels, int) else list(in_channels)
        weights = [1.0] * len(channels) if loss_weights is None else list(loss_weights)
        if len(weights) != len(channels):
            raise ValueError(
                f"MultiExitHead: expected {len(channels)} loss_weights, one per exit, got {weights}"
            )
        self.num_classes = num_classes
        self.in_channels = channels
        self.loss_weights = weights
        self.fcs = nn.ModuleList(nn.Linear(each, num_classes) for each in channels)
        self.loss_module = MODELS.build(loss or dict(type="mmpretrain.CrossEntropyLoss"))

    @property
    def num_exits(self) -> int:
        """int: Number of exits."""
        return len(self.fcs)

    def forward_exit(self, index: int, feat: Tensor) -> Tensor:
        """Classify at one exit.

        Args:
            index (int): Index of the exit.
            feat (Tensor): Vector of the exit, (B, C).

        Returns:
            Tensor: Logits, (B, num_classes).
        """
        return self.fcs[index](feat)

    def forward(self, feats: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Classify at all exits.

        Args:
            feats (Sequence[Tensor]): Vector (B, C) of each exit.

        Returns:
            tuple[Tensor, ...]: Logits (B, num_classes) of each exit.

        Raises:
            ValueError: If the number of vectors is not the number of classifiers.
        """
        if len(feats) != len(self.fcs):
            raise ValueError(
                f"the backbone has {len(feats)} exits, but the head has classifiers for "
                f"{len(self.fcs)}. Set num_exits={len(feats)} of the head"
            )
        return tuple(fc(feat) for fc, feat in zip(self.fcs, feats, strict=True))

    def loss(self, feats: Sequence[Tensor], data_samples: list[DataSample], **kwargs) -> dict:
        """Compute the loss of each exit.

        Args:
            feats (Sequence[Tensor]): Vector (B, C) of each exit.
            data_samples (list[DataSample]): Samples with labels, or with scores if the batch is
                mixed, as by Mixup.
            **kwargs: Passed to the loss.

        Returns:
            dict[str, Tensor]: ``exit{k}.loss``, weighted, and without mixing
            ``exit{k}.accuracy``, with k starting at 0. MMEngine sums entries whose names contain
            "loss".
        """
        mixed = "gt_score" in data_samples[0]
        if mixed:
            target = torch.stack([sample.gt_score for sample in data_samples])
        else:
            target = torch.cat([sample.gt_label for sample in data_samples])
        losses = {}
        for index, (logits, weight) in enumerate(zip(self(feats), self.loss_weights, strict=True)):
            loss = self.loss_module(logits, target, avg_factor=len(logits), **kwargs)
            losses[f"exit{index}.loss"] = weight * loss
            if not mixed:
                right = logits.argmax(dim=1) == target
                losses[f"exit{index}.accuracy"] = 100 * right.float().mean()
        return losses
