"""Plots of a cascade: accuracy curves, and images classified with the highest confidence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from smallvit.analysis.figures import new_figure, save_figure
from smallvit.compat.moved import forward
from smallvit.plugins.multi_exit.calibration import AccuracyCostCurve

__getattr__ = forward(__name__)

#: Costs below this many GFLOPs are shown in MFLOPs.
SMALL = 0.1


def plot_gflops(curves: dict[str, tuple[AccuracyCostCurve, Sequence[float]]], path: str) -> None:
    """Plot accuracy against GFLOPs, or MFLOPs for small cascades.

    Operating points that a single exit beats, with higher accuracy at no more FLOPs, are marked
    with a cross.

    Args:
        curves (dict[str, tuple[AccuracyCostCurve, Sequence[float]]]): For each name, the curve
            of a cascade and the GFLOPs of its exits.
        path (str): Image file to write.
    """
    small = max(max(flops) for _, flops in curves.values()) < SMALL
    unit, factor = ("MFLOPs", 1000) if small else ("GFLOPs", 1)
    figure = new_figure(6, 4.2)
    axis = figure.subplots()
    for name, (curve, flops) in curves.items():
        order = np.argsort(curve.flops)
        costs, accuracy = np.array(curve.flops)[order], np.array(curve.accuracy)[order]
        (line,) = axis.plot(factor * costs, accuracy, marker=".", label=f"{name}: budgeted")
        color = line.get_color()
        singles = factor * np.array(flops)
        axis.plot(singles, curve.anytime, "s--", color=color, label=f"{name}: one exit")
        beaten = beaten_by_one_exit(costs, accuracy, flops, curve.anytime)
        if beaten.any():
            label = f"{name}: worse than one exit"
            axis.plot(factor * costs[beaten], accuracy[beaten], "x", color="red", label=label)
    axis.set_xlabel(f"{unit} per image (multiply-adds)")
    axis.set_ylabel("top-1 accuracy (%)")
    axis.grid(alpha=0.3)
    axis.legend()
    save_figure(figure, path)


def beaten_by_one_exit(
    costs: Sequence[float],
    accuracy: Sequence[float],
    exit_costs: Sequence[float],
    exit_accuracy: Sequence[float],
) -> np.ndarray:
    """Find the operating points that a single exit beats.

    Args:
        costs (Sequence[float]): Cost of each operating point.
        accuracy (Sequence[float]): Accuracy of each operating point.
        exit_costs (Sequence[float]): Cost of each exit.
        exit_accuracy (Sequence[float]): Accuracy of each exit.

    Returns:
        np.ndarray: For each point, whether an exit is more accurate and costs no more.
    """
    cheaper = np.asarray(exit_costs)[None] <= np.asarray(costs)[:, None]
    better = np.asarray(exit_accuracy)[None] > np.asarray(accuracy)[:, None]
    return (cheaper & better).any(axis=1)


def plot_throughput(points: Sequence[dict], title: str, path: str) -> None:
    """Plot accuracy against measured images/s.

    Args:
        points (Sequence[dict]): Measured points as dicts, see
            :class:`smallvit.plugins.multi_exit.timing.Point`.
        title (str): Title of the plot, such as the device of the measurement.
        path (str): Image file to write.
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


def surest_right_and_wrong(
    confidence: Tensor, correct: Tensor, labels: Tensor, count: int
) -> dict[int, tuple[list[int], list[int]]]:
    """Select the images of each class that are classified most confidently, right and wrong.

    The prediction of an early exit has more weight than those of all later exits together.

    Args:
        confidence (Tensor): Confidence of each exit for each image, (K, N).
        correct (Tensor): Whether the prediction of each exit is correct, bool (K, N).
        labels (Tensor): int64 (N, ).
        count (int): Maximum number of right and of wrong images per class.

    Returns:
        dict[int, tuple[list[int], list[int]]]: For each class, the indices of images that are
        right early with high confidence, and of those that are wrong early with high confidence;
        images that all exits classify correctly are excluded from the latter.
    """
    ease = torch.where(correct, confidence, -confidence).double()
    weights = 4.0 ** -torch.arange(len(ease), dtype=torch.float64)
    score = (weights.unsqueeze(1) * ease).sum(dim=0)
    chosen = {}
    for label in labels.unique().tolist():
        members = (labels == label).nonzero().squeeze(1)
        order = members[score[members].argsort(descending=True)]
        right, wrong = order[correct[:, order].any(dim=0)], order[~correct[:, order].all(dim=0)]
        chosen[label] = (right[:count].tolist(), wrong.flip(0)[:count].tolist())
    return chosen


def plot_surest(
    images: Mapping[int, np.ndarray],
    captions: Mapping[int, str],
    chosen: dict[int, tuple[list[int], list[int]]],
    names: Sequence[str],
    path: str,
) -> None:
    """Plot one row per class: its most confident right images, then its most confident wrong ones.

    Args:
        images (Mapping[int, np.ndarray]): Selected images by index, (H, W, 3), uint8 RGB.
        captions (Mapping[int, str]): Title of each image by index.
        chosen (dict[int, tuple[list[int], list[int]]]): Output of :func:`surest_right_and_wrong`.
        names (Sequence[str]): Class names.
        path (str): Image file to write.
    """
    width = max(1, *(len(each) for pair in chosen.values() for each in pair))
    figure = new_figure(1.25 * (2 * width + 1), 1.35 * len(chosen) + 0.4)
    axes = figure.subplots(len(chosen), 2 * width + 1, squeeze=False)
    for axis in axes.ravel():
        axis.set_axis_off()
    for row, (label, (right, wrong)) in zip(axes, chosen.items(), strict=True):
        row[width].text(0.5, 0.5, names[label], ha="center", va="center", fontsize=9)
        places = [*zip(row, right, strict=False), *zip(row[width + 1 :], wrong, strict=False)]
        for axis, index in places:
            small = min(images[index].shape[:2]) < 64
            axis.imshow(images[index], interpolation="nearest" if small else None)
            axis.set_title(captions[index], fontsize=6)
    figure.suptitle("most confident, correct | class | most confident, wrong", fontsize=10)
    save_figure(figure, path)
