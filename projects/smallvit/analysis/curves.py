"""Curves of several runs, with one panel per logged quantity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from smallvit.analysis.figures import new_figure
from smallvit.analysis.logs import ScalarCurve
from smallvit.errors import UserError

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Runs = Mapping[str, Mapping[str, ScalarCurve]]


def choose_keys(runs: Runs, asked: Sequence[str] | None) -> list[str]:
    """Select the quantities to draw.

    Args:
        runs (Mapping[str, Mapping[str, ScalarCurve]]): Curves of each run.
        asked (Sequence[str] | None): Requested quantities; None selects the loss and all
            validation metrics with values, or everything if there are none.

    Returns:
        list[str]: Names of quantities.

    Raises:
        UserError: If no run logged a requested quantity.
    """
    available = sorted({key for curves in runs.values() for key in curves})
    if asked is None:
        measured = [(key, one) for run in runs.values() for key, one in run.items() if one.values]
        metrics = {key for key, curve in measured if curve.validation}
        return [key for key in available if key == "loss" or key in metrics] or available
    unknown = [key for key in asked if key not in available]
    if unknown:
        raise UserError(
            f"no run logged {', '.join(unknown)}; available: {', '.join(available) or 'nothing'}"
        )
    return list(asked)


def draw_runs(runs: Runs, keys: Sequence[str], smooth: int = 1, title: str | None = None) -> Figure:
    """Draw quantities over the iterations.

    Args:
        runs (Mapping[str, Mapping[str, ScalarCurve]]): Curves of each run.
        keys (Sequence[str]): Quantities, one panel each.
        smooth (int): Window of the moving average of training values. Defaults to 1.
        title (str, optional): Title of the figure. Defaults to None: the name of a single run.

    Returns:
        Figure: One panel per quantity.
    """
    columns = min(3, len(keys))
    rows = -(-len(keys) // columns)
    figure = new_figure(4.5 * columns, 3.2 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis, key in zip(axes, keys, strict=False):
        _draw_panel(axis, key, runs, smooth)
    for axis in axes[len(keys) :]:
        axis.set_visible(False)
    if len(runs) > 1:
        handles, labels = axes[0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(runs)))
    figure.suptitle(title or ("" if len(runs) > 1 else next(iter(runs))))
    return figure


def _draw_panel(axis: Axes, key: str, runs: Runs, smooth: int) -> None:
    for number, (name, curves) in enumerate(runs.items()):
        color = f"C{number}"
        curve = curves.get(key)
        if curve is None:
            axis.plot([], [], color=color, label=name)
            continue
        window = 1 if curve.validation else smooth
        if window > 1:
            axis.plot(curve.iterations, curve.values, color=color, alpha=0.2, linewidth=0.8)
        axis.plot(
            *curve.averaged(window),
            color=color,
            label=name,
            marker="o" if curve.validation or len(curve.values) == 1 else None,
            markersize=3,
        )
    measured = any(run[key].values for run in runs.values() if key in run)
    axis.set_ylabel(key.rpartition("/")[2])
    axis.set_title(key if measured else f"{key} (nothing to measure)")
    axis.set_xlabel("iteration")
    axis.grid(alpha=0.3)
