"""Apply the Mixup or CutMix of a batch of images to their stored features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

#: Rounding tolerance of the probes, in pixels and in samples; a moved pixel is off by at least 1.
_TOLERANCE = 0.25
#: Rounding tolerance of a weight that is computed from a probe.
_ROUNDING = 1e-3


@dataclass(frozen=True)
class MixRecord:
    """Mixing of a batch: each sample with one other sample, with the same weights.

    Args:
        partners (Tensor): Index of the other sample, int64 (B, ).
        weights (Tensor): Weight of the sample itself at each pixel, (H, W).
    """

    partners: Tensor
    weights: Tensor

    @property
    def is_identity(self) -> bool:
        """bool: Whether the batch is unchanged."""
        return self.partners.equal(
            torch.arange(len(self.partners), device=self.partners.device)
        ) or bool((self.weights == 1).all())

    def apply(self, feature: Tensor) -> Tensor:
        """Apply the mixing to feature maps.

        Args:
            feature (Tensor): Maps (B, C, h, w) of the unmixed samples.

        Returns:
            Tensor: Mixed maps; a cell on the border of a pasted region is weighted by area.
        """
        if self.is_identity:
            return feature
        weights = self.weights[None, None].to(feature.device)
        weights = F.adaptive_avg_pool2d(weights, feature.shape[2:]).to(feature.dtype)
        return weights * feature + (1 - weights) * feature[self.partners.to(feature.device)]


class RecordedMix:
    """Wrapper of a batch augmentation that records how a batch was mixed.

    Outputs are the same as without the wrapper. Two additional channels and additional columns of
    scores are mixed along, from which the partners and weights are inferred, so that the
    augmentation need not report them.

    Args:
        augment (Callable): Function of images (B, C, H, W) and scores (B, K) that returns both
            mixed, such as ``mmpretrain.models.RandomBatchAugment`` with Mixup and CutMix.

    Attributes:
        last (MixRecord | None): Mixing of the last call.
    """

    def __init__(self, augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> None:
        self.augment = augment
        self.last: MixRecord | None = None

    def __call__(self, inputs: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Mix a batch.

        Args:
            inputs (Tensor): Images (B, C, H, W), float32.
            scores (Tensor): One-hot labels (B, K).

        Returns:
            tuple[Tensor, Tensor]: Mixed images and scores.

        Raises:
            ValueError: If the augmentation does more than mix pairs of samples pixel by pixel.
        """
        self.last = None
        channels, classes = inputs.shape[1], scores.shape[1]
        tags = torch.eye(len(inputs), dtype=scores.dtype, device=scores.device)
        mixed, mixed_scores = self.augment(
            torch.cat((inputs, _probes(inputs)), dim=1), torch.cat((scores, tags), dim=1)
        )
        numbers, positions = mixed[:, channels:].float().unbind(1)
        self.last = _read(numbers, positions, mixed_scores[:, classes:].float(), self._name())
        return mixed[:, :channels].contiguous(), mixed_scores[:, :classes].contiguous()

    def _name(self) -> str:
        parts = [each for each in getattr(self.augment, "augments", [self.augment]) if each]
        return ", ".join(type(each).__name__ for each in parts)


def _probes(inputs: Tensor) -> Tensor:
    """Create two probe channels, the index of the sample and that of the pixel, (B, 2, H, W)."""
    count, _, height, width = inputs.shape
    like = dict(dtype=inputs.dtype, device=inputs.device)
    numbers = torch.arange(count, **like).view(-1, 1, 1, 1).expand(-1, 1, height, width)
    positions = torch.arange(height * width, **like).view(1, 1, height, width)
    return torch.cat((numbers, positions.expand(count, -1, -1, -1)), dim=1)


def _read(numbers: Tensor, positions: Tensor, tags: Tensor, name: str) -> MixRecord:
    """Infer partners and weights from the mixed probes.

    Args:
        numbers (Tensor): Mixed sample indices (B, H, W).
        positions (Tensor): Mixed pixel indices (B, H, W).
        tags (Tensor): Mixed identity matrix (B, B).
        name (str): Name of the augmentation, for the error.

    Returns:
        MixRecord: Mixing that produces these probes.

    Raises:
        ValueError: If the probes are not explained by mixing pairs of samples.
    """
    own = torch.arange(len(numbers), device=numbers.device)
    partners = _partners(tags, own)
    weights = _weights(numbers, tags, own, partners)
    first, second = (each.to(numbers).view(-1, 1, 1) for each in (own, partners))
    wanted = weights * first + (1 - weights) * second
    places = torch.arange(positions[0].numel(), device=positions.device)
    moved = (positions - places.view_as(positions[0])).abs().max() > _TOLERANCE
    if moved or (numbers - wanted).abs().max() > _TOLERANCE:
        raise ValueError(
            f"stored teacher features do not support the batch augmentation {name}, which moves "
            "pixels or mixes more than two images. Use Mixup and CutMix, or an online teacher"
        )
    return MixRecord(partners, weights)


def _partners(tags: Tensor, own: Tensor) -> Tensor:
    others = tags.clone()
    others[own, own] = 0
    share, partners = others.max(dim=1)
    return torch.where(share > 0, partners, own)


def _weights(numbers: Tensor, tags: Tensor, own: Tensor, partners: Tensor) -> Tensor:
    """Compute the weight map from a sample that was mixed with another one."""
    distance = (own - partners).abs()
    if not bool(distance.any()):
        return torch.ones_like(numbers[0])
    row = int(distance.argmax())
    mine, other = float(own[row]), float(partners[row])
    weights = (numbers[row] - other) / (mine - other)
    share = tags[row, row]
    # A uniform weight is rounded in the probe but exact in the labels.
    rounded = (weights != 0) & (weights != 1) & ((weights - share).abs() < _ROUNDING)
    return torch.where(rounded, share, weights)
