"""Distillation losses between features or logits of a student and a teacher."""

from collections.abc import Callable
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor


def spatial_attention(feature: Tensor) -> Tensor:
    """Compute the spatial attention of a map: channel-wise mean of squares, L2-normalized.

    Args:
        feature (Tensor): Map (B, C, H, W).

    Returns:
        Tensor: (B, H * W).
    """
    return F.normalize(feature.square().mean(dim=1).flatten(1))


def batch_similarity(feature: Tensor) -> Tensor:
    """Compute the inner products between the images of a batch, with L2-normalized rows.

    Args:
        feature (Tensor): Map (B, C, H, W).

    Returns:
        Tensor: (B, B).
    """
    rows = feature.flatten(1)
    return F.normalize(rows @ rows.t())


#: Transforms of the maps before the comparison; ``linear`` is the identity.
TRANSFORMS: dict[str, Callable[[Tensor], Tensor]] = {
    "linear": lambda feature: feature,
    "attention": spatial_attention,
    "similarity": batch_similarity,
}


def feature_loss(student: Tensor, teacher: Tensor, transform: str = "linear") -> Tensor:
    """Compute the mean squared error of two maps, resized to the larger of their sizes.

    Args:
        student (Tensor): Map (B, C_s, H_s, W_s); for "linear", C_s must equal C_t.
        teacher (Tensor): Map (B, C_t, H_t, W_t).
        transform (str): A key of :data:`TRANSFORMS`. Defaults to "linear".

    Returns:
        Tensor: The loss, float32, or float64 if a map is.
    """
    size = tuple(max(pair) for pair in zip(student.shape[2:], teacher.shape[2:], strict=True))
    # Autocast would compute the matrix products below in half precision.
    with torch.autocast(student.device.type, enabled=False):
        student, teacher = (
            TRANSFORMS[transform](_resize(_at_least_float32(each), size))
            for each in (student, teacher)
        )
        return F.mse_loss(student, teacher)


def _at_least_float32(feature: Tensor) -> Tensor:
    # Sums of squares over thousands of half-precision values lose small differences.
    return feature.float() if feature.itemsize < 4 else feature


def _resize(feature: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize a map (B, C, H, W) bilinearly by one matrix product per axis.

    On a CPU this takes a quarter of the time of ``F.interpolate``, backward pass included.
    """
    if tuple(feature.shape[2:]) == size:
        return feature
    rows, columns = (
        _bilinear(old, new, feature.dtype, feature.device)
        for old, new in zip(feature.shape[2:], size, strict=True)
    )
    return rows @ feature @ columns.t()


@lru_cache(maxsize=32)
def _bilinear(old: int, new: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Compute the matrix (new, old) of bilinear resizing along one axis."""
    unit = torch.eye(old, dtype=dtype, device=device)[None, :, :, None]
    return F.interpolate(unit, (new, 1), mode="bilinear", align_corners=False)[0, :, :, 0].t()


def soft_logit_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Compute the KL divergence of softened predictions, averaged over all entries.

    Args:
        student (Tensor): Logits (B, num_classes).
        teacher (Tensor): Logits (B, num_classes).
        temperature (float): Divisor of the logits; the loss is scaled by its
            square. Defaults to 1.0.

    Returns:
        Tensor: Scalar loss.
    """
    divergence = F.kl_div(
        F.log_softmax(_at_least_float32(student) / temperature, dim=1),
        F.log_softmax(_at_least_float32(teacher) / temperature, dim=1),
        reduction="sum",
        log_target=True,
    )
    return divergence * temperature**2 / student.numel()


def hard_logit_loss(student: Tensor, teacher: Tensor, temperature: float = 1.0) -> Tensor:
    """Compute the cross-entropy with the classes that the teacher predicts.

    Args:
        student (Tensor): Logits (B, num_classes).
        teacher (Tensor): Logits (B, num_classes).
        temperature (float): Not used, since it does not change the prediction. Defaults to 1.0.

    Returns:
        Tensor: Scalar loss.
    """
    return F.cross_entropy(_at_least_float32(student), teacher.argmax(dim=1))


LOGIT_LOSSES: dict[str, Callable[[Tensor, Tensor, float], Tensor]] = {
    "soft": soft_logit_loss,
    "hard": hard_logit_loss,
}
