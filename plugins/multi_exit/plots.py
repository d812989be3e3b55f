"""Pictures of a cascade: its curves, and the images that are easy and hard for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from smallvit.analysis.figures import new_figure, save_figure
from smallvit.plugins.multi_exit.calibration import Curve


def plot_gflops(curves: dict[str, tuple[Curve, Sequence[float]]], path: str) -> None:
    """Draw accuracy against GFLOPs.

    Args:
        curves (dict[str, tuple[Curve, Sequence[float]]]): For each name a curve, and the
            GFLOPs of its exits.
        path (str): Picture to write.
    """
    figure = new_figure(6, 4.2)
    axis = figure.subplots()
    for name, (curve, flops) in curves.items():
        order = np.argsort(curve.flops)
        (line,) = axis.plot(
            np.array(curve.flops)[order],
            np.array(curve.accuracy)[order],
            marker=".",
            label=f"{name}: budgeted",
        )
        axis.plot(flops, curve.anytime, "s--", color=line.get_color(), label=f"{name}: one exit")
    axis.set_xlabel("GFLOPs an image (multiply-adds)")
    axis.set_ylabel("top-1 accuracy (%)")
    axis.grid(alpha=0.3)
    axis.legend()
    save_figure(figure, path)


def plot_throughput(points: Sequence[dict], title: str, path: str) -> None:
    """Draw accuracy against measured images/s.

    Args:
        points (Sequence[dict]): Measured points as dicts, see
            :class:`smallvit.plugins.multi_exit.timing.Point`.
        title (str): Says what it was measured on.
        path (str): Picture to write.
    """
    figure = new_figure(6, 4.2)
    axis = figure.subplots()
    for label, style, chosen in (
        ("budgeted", "o-", [point for point in points if point["thresholds"] is not None]),
        ("one exit", "s--", [point for point in points if point["thresholds"] is None]),
    ):
        chosen = sorted(chosen, key=lambda point: point["images_per_second"])
        axis.plot(
            [point["images_per_second"] for point in chosen],
            [point["accuracy"] for point in chosen],
            style,
            label=label,
        )
    axis.set_xscale("log")
    axis.set_xlabel("images/s, measured")
    axis.set_ylabel("top-1 accuracy (%)")
    axis.set_title(title, fontsize=9)
    axis.grid(alpha=0.3, which="both")
    axis.legend()
    save_figure(figure, path)


def easiest_and_hardest(
    confidence: Tensor, correct: Tensor, labels: Tensor, count: int
) -> dict[int, tuple[list[int], list[int]]]:
    """Choose the easiest and the hardest images of each class.

    Easy is what the first exits answer rightly and with confidence; hard what even the
    last ones do not.

    Args:
        confidence (Tensor): Of each exit and image, (K, N).
        correct (Tensor): Whether each exit is right, bool (K, N).
        labels (Tensor): int64 (N, ).
        count (int): Images of each kind for each class.

    Returns:
        dict[int, tuple[list[int], list[int]]]: For each class the indices of the easiest,
        easiest first, and of the hardest, hardest first.
    """
    ease = torch.where(correct, confidence, -confidence).double()
    # An earlier exit's verdict counts more than all later ones together.
    weights = 4.0 ** -torch.arange(len(ease), dtype=torch.float64)
    score = (weights.unsqueeze(1) * ease).sum(dim=0)
    chosen = {}
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().squeeze(1)
        order = members[score[members].argsort(descending=True)].tolist()
        chosen[label] = (order[:count], order[::-1][:count])
    return chosen


def plot_easiest_and_hardest(
    images: Mapping[int, np.ndarray],
    captions: Mapping[int, str],
    chosen: dict[int, tuple[list[int], list[int]]],
    names: Sequence[str],
    path: str,
) -> None:
    """Draw a page with a row for each class: its easiest images, then its hardest.

    Args:
        images (Mapping[int, np.ndarray]): Those chosen, (H, W, 3), uint8 RGB.
        captions (Mapping[int, str]): What is written above each.
        chosen (dict[int, tuple[list[int], list[int]]]): See :func:`easiest_and_hardest`.
        names (Sequence[str]): Names of the classes.
        path (str): Picture to write.
    """
    width = max(len(easy) for easy, _ in chosen.values())
    figure = new_figure(1.25 * (2 * width + 1), 1.35 * len(chosen) + 0.4)
    axes = figure.subplots(len(chosen), 2 * width + 1, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for row, (label, (easy, hard)) in zip(axes, chosen.items(), strict=True):
        row[width].text(0.5, 0.5, names[label], ha="center", va="center", fontsize=9)
        for axis, index in zip([*row[:width], *row[width + 1 :]], [*easy, *hard], strict=False):
            small = min(images[index].shape[:2]) < 64
            axis.imshow(images[index], interpolation="nearest" if small else None)
            axis.set_title(captions[index], fontsize=6)
    figure.suptitle("easiest | class | hardest", fontsize=10)
    save_figure(figure, path)
