"""Plot of learning-rate curves."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from smallvit.analysis.figures import new_figure, save_figure
from smallvit.analysis.recipe.schedule import LRCurve

#: Number of points per curve.
DRAWN = 4000


def draw_curves(curves: Mapping[str, LRCurve], path: str) -> None:
    """Plot the learning rates of one or several training runs.

    Args:
        curves (Mapping[str, LRCurve]): Curves by the label in the legend.
        path (str): Path to write; the extension determines the format.
    """
    figure = new_figure(7, 4)
    axes = figure.subplots()
    in_epochs = all(curve.epoch_length for curve in curves.values())
    for name, curve in curves.items():
        chosen = np.unique(np.linspace(0, len(curve.rates) - 1, DRAWN).round().astype(int))
        axes.plot(
            chosen / (curve.epoch_length if in_epochs else 1), curve.rates[chosen], label=name
        )
    axes.set_xlabel("epoch" if in_epochs else "iteration")
    axes.set_ylabel("learning rate")
    axes.set_ylim(bottom=0)
    axes.grid(alpha=0.3)
    axes.legend()
    save_figure(figure, path, dpi=150)
