"""Threshold search for early exit, and evaluation of thresholds.

All functions but :func:`fit_temperature` take confidences (exits, images) instead of logits, so
that finding a threshold only requires sorting.
"""

from collections.abc import Sequence
from itertools import combinations
from math import comb

import numpy as np
import torch
from torch import Tensor

from smallvit.compat.moved import forward

__getattr__ = forward(__name__)

#: Thresholds of the published procedure at which no image, or every image, leaves.
NEVER_EXIT, ALWAYS_EXIT = 1e8, -1e8


def geometric_shares(p: float, num_exits: int) -> Tensor:
    """Compute the share of images for each exit by the paper's rule: p, p^2, p^3, ... normalized.

    Args:
        p (float): Base of the powers; below 1, early exits get larger shares, above 1, late ones.
        num_exits (int): Number of exits.

    Returns:
        Tensor: float32 (num_exits, ), summing to one.
    """
    powers = torch.exp(torch.tensor([p]).log() * torch.arange(1, num_exits + 1))
    return powers / powers.sum()


def share_grid(num_exits: int, limit: int = 2000) -> list[Tensor]:
    """List the shares of images for each exit on a regular grid, including exits without images.

    Args:
        num_exits (int): Number of exits.
        limit (int): Maximum length of the list, which determines the step of the grid, at least
            1/50. Defaults to 2000.

    Returns:
        list[Tensor]: float32 (num_exits, ) each, summing to one.
    """

    def places(parts: int) -> int:  # of parts and of the bars that separate the exits
        return parts + num_exits - 1

    parts = 1
    while parts < 50 and comb(places(parts + 1), num_exits - 1) <= limit:
        parts += 1
    bars = combinations(range(places(parts)), num_exits - 1)
    ends = [torch.tensor([-1, *each, places(parts)]) for each in bars]
    return [(each.diff() - 1) / parts for each in ends]


def find_thresholds(confidence: Tensor, shares: Tensor) -> Tensor:
    """Find the thresholds with which given shares of the images leave at each exit.

    Args:
        confidence (Tensor): Confidence of each exit for each image, float32 (K, N).
        shares (Tensor): Share of the images for each exit, float32 (K, ).

    Returns:
        Tensor: float32 (K, ). An exit whose share is less than one image, or more than
        the remaining images, has :data:`NEVER_EXIT`; the last exit has :data:`ALWAYS_EXIT`.
    """
    return ThresholdSearch(confidence)(shares)


class ThresholdSearch:
    """:func:`find_thresholds` for many shares on the same images, which are sorted once.

    Args:
        confidence (Tensor): Confidence of each exit for each image, float32 (K, N).
    """

    def __init__(self, confidence: Tensor) -> None:
        self.confidence = confidence.cpu()
        self.order = self.confidence.argsort(dim=1, descending=True)

    def __call__(self, shares: Tensor) -> Tensor:
        """Find thresholds (K, ) for shares (K, )."""
        num_exits, num_images = self.confidence.shape
        thresholds = torch.full((num_exits,), NEVER_EXIT)
        staying = torch.ones(num_images, dtype=torch.bool)
        for index in range(num_exits - 1):
            # As in the published procedure, multiply in float32, which affects the floor.
            wanted = int(np.floor(np.float32(num_images) * np.float32(shares[index])))
            order = self.order[index]
            candidates = order[staying[order]]
            if 0 < wanted <= len(candidates):
                thresholds[index] = self.confidence[index, candidates[wanted - 1]]
            staying &= self.confidence[index] < thresholds[index]
        thresholds[-1] = ALWAYS_EXIT
        return thresholds


def choose_exits(confidence: Tensor, thresholds: Tensor | Sequence[float]) -> Tensor:
    """Find the first exit whose confidence reaches its threshold, or the last exit, per image.

    Args:
        confidence (Tensor): Confidence of each exit for each image, (K, N).
        thresholds (Tensor | Sequence[float]): Threshold of each exit, (K, ); the last is not used.

    Returns:
        Tensor: Exit of each image, int64 (N, ).

    Raises:
        ValueError: If the number of thresholds does not match the number of exits.
    """
    thresholds = check_thresholds(thresholds, len(confidence)).to(confidence)
    sure = confidence >= thresholds.unsqueeze(1)
    sure[-1] = True
    return sure.int().argmax(dim=0)


def check_thresholds(thresholds: Tensor | Sequence[float], num_exits: int) -> Tensor:
    """Check that there is a threshold for each exit.

    Args:
        thresholds (Tensor | Sequence[float]): Threshold of each exit, or of all but the last.
        num_exits (int): Number of exits.

    Returns:
        Tensor: float32 (num_exits, ); the last is :data:`ALWAYS_EXIT`.

    Raises:
        ValueError: If the number of thresholds does not match the number of exits.
    """
    values = [float(each) for each in thresholds]
    if len(values) not in (num_exits - 1, num_exits):
        raise ValueError(
            f"expected {num_exits - 1} thresholds for {num_exits} exits, one for each exit except "
            f"the last, got {len(values)} ({values}). Set them, or calibrate this model"
        )
    return torch.tensor([*values[: num_exits - 1], ALWAYS_EXIT])


def evaluate_exits(
    exits: Tensor, correct: Tensor, flops: Sequence[float]
) -> tuple[float, float, list[int]]:
    """Compute accuracy and mean cost for a given exit of each image.

    Args:
        exits (Tensor): Exit of each image, int64 (N, ).
        correct (Tensor): Whether the prediction of each exit is correct, bool (K, N).
        flops (Sequence[float]): Cost of an image that leaves at each exit.

    Returns:
        tuple[float, float, list[int]]: Accuracy in percent, mean cost per image computed in
        float32, and the number of images that leave at each exit.
    """
    num_images = len(exits)
    right = int(correct.gather(0, exits.unsqueeze(0)).sum())
    counts = torch.bincount(exits, minlength=len(flops))
    shares = counts.float() / num_images
    cost = torch.zeros(())
    for share, each in zip(shares, flops, strict=True):
        cost = cost + share * each
    return right * 100.0 / num_images, cost.item(), counts.tolist()


def fit_temperature(logits: Tensor, labels: Tensor, steps: int = 20) -> float:
    """Fit the temperature of one exit by temperature scaling.

    Minimizes the cross-entropy, which is convex in the inverse temperature, with Newton's
    method. See `On Calibration of Modern Neural Networks
    <https://arxiv.org/abs/1706.04599>`_.

    Args:
        logits (Tensor): (N, num_classes).
        labels (Tensor): int64 (N, ).
        steps (int): Maximum number of Newton steps. Defaults to 20.

    Returns:
        float: The temperature, between 0.01 and 100.
    """
    chosen = logits.gather(1, labels.unsqueeze(1)).double().mean()
    inverse = 1.0
    for _ in range(steps):
        probabilities = (logits.float() * inverse).softmax(dim=1)
        mean = (probabilities * logits).sum(dim=1)
        variance = (probabilities * logits.square()).sum(dim=1) - mean.square()
        slope = mean.double().mean() - chosen
        step = float(slope / variance.double().mean().clamp(min=1e-12))
        # Limit a step to half or double, since far from the optimum a Newton step overshoots.
        updated = min(max(inverse - step, inverse / 2, 0.01), inverse * 2, 100.0)
        if abs(updated - inverse) < 1e-6 * inverse:
            break
        inverse = updated
    return 1 / inverse
