"""Plots of a bench."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from smallvit.analysis.figures import new_figure, save_figure
from smallvit.analysis.logs import ScalarCurve
from smallvit.bench.methods import drawn
from smallvit.bench.plan import Run, samples_label
from smallvit.bench.results import Summary, ranking

Summaries = Mapping[tuple[str, int | None], Summary]
MARKERS = "osD^vP*X<>"
#: Omit matplotlib's version, so that equal results give equal files.
METADATA = {"metadata": {"Software": None}}


def _style(number: int) -> dict:
    return {"color": f"C{number % 10}", "marker": MARKERS[number % len(MARKERS)]}


def plot_samples(
    summaries: Summaries,
    samples: Sequence[int | None],
    images_per_class: float,
    path: str,
    metric: str = "accuracy",
) -> None:
    """Plot accuracy against the number of training images per class.

    Args:
        summaries (Mapping): Summaries by method and images per class.
        samples (Sequence[int | None]): Images per class of each subset, None for all.
        images_per_class (float): Mean number of images per class in the full training set.
        path (str): Image file to write.
        metric (str): Name of the plotted percentage. Defaults to "accuracy".
    """
    figure = new_figure(6.5, 4.5)
    axis = figure.subplots()
    names = ranking(summaries, samples)
    if len(samples) == 1:
        _draw_bars(axis, summaries, samples[0], names, metric)
        save_figure(figure, path, **METADATA)
        return
    at = {count: images_per_class if count is None else count for count in samples}
    for number, name in enumerate(names):
        there = [count for count in samples if (name, count) in summaries]
        # Shifted horizontally, so that error bars do not overlap.
        shift = 1 + 0.02 * (number - (len(names) - 1) / 2)
        axis.errorbar(
            [at[count] * shift for count in there],
            [summaries[name, count].mean for count in there],
            yerr=[summaries[name, count].std or 0 for count in there],
            label=drawn(name),
            capsize=3,
            markersize=5,
            **_style(number),
        )
    axis.set_xscale("log")
    axis.set_xticks(list(at.values()), [samples_label(count) for count in samples])
    axis.minorticks_off()
    axis.set_xlabel("training images")
    axis.set_ylabel(f"test {metric} (%), mean ± standard deviation")
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)
    save_figure(figure, path, **METADATA)


def _draw_bars(
    axis, summaries: Summaries, count: int | None, names: Sequence[str], metric: str
) -> None:
    """Draw a bar for each method, the best at the top."""
    found = [summaries[name, count] for name in names]
    axis.barh(
        range(len(names)),
        [each.mean for each in found],
        xerr=[each.std or 0 for each in found],
        color=[f"C{number % 10}" for number in range(len(names))],
        capsize=3,
    )
    for number, each in enumerate(found):
        axis.annotate(
            f" {each.text()}",
            (each.mean + (each.std or 0), number),
            va="center",
            fontsize=8,
        )
    axis.set_yticks(range(len(names)), [drawn(name) for name in names])
    axis.invert_yaxis()
    # Leave space for the numbers right of the bars.
    axis.set_xlim(0, 1.25 * max(each.mean + (each.std or 0) for each in found) + 0.1)
    axis.set_xlabel(f"test {metric} (%), mean ± standard deviation, {samples_label(count)}")
    axis.grid(alpha=0.3, axis="x")
    axis.set_axisbelow(True)


def plot_together(
    curves: Mapping[Run, Sequence[tuple[int, float]]],
    names: Sequence[str],
    samples: Sequence[int | None],
    path: str,
    metric: str = "accuracy",
) -> None:
    """Plot the validation curves of all methods, with one panel per subset.

    Args:
        curves (Mapping[Run, Sequence[tuple[int, float]]]): Step and accuracy of each validation.
        names (Sequence[str]): Names of the methods, best first.
        samples (Sequence[int | None]): Images per class of each subset, None for all.
        path (str): Image file to write.
        metric (str): Name of the plotted percentage. Defaults to "accuracy".
    """
    figure = new_figure(5.2 * len(samples) + 0.6, 4.2)
    axes = figure.subplots(1, len(samples), squeeze=False)[0]
    for axis, count in zip(axes, samples, strict=True):
        for number, name in enumerate(names):
            values: dict[int, list[float]] = {}
            for run, curve in curves.items():
                for at, accuracy in curve if (run.method, run.samples) == (name, count) else ():
                    values.setdefault(at, []).append(accuracy)
            steps = sorted(values)
            means = [sum(values[at]) / len(values[at]) for at in steps]
            axis.plot(steps, means, label=drawn(name), markersize=4, **_style(number))
        axis.set_title(samples_label(count), fontsize=10)
        axis.set_xlabel("step")
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(f"validation {metric} (%)")
    if names:
        axes[0].legend(fontsize=8)
    save_figure(figure, path, **METADATA)


def plot_cost(
    summaries: Summaries,
    samples: Sequence[int | None],
    costs: Mapping[str, Mapping[str, float]],
    path: str,
    metric: str = "accuracy",
) -> None:
    """Plot accuracy on the largest subset against FLOPs and measured speed.

    Args:
        summaries (Mapping): Summaries by method and images per class.
        samples (Sequence[int | None]): Images per class of each subset, None for all.
        costs (Mapping): ``flops`` and ``images_per_second`` of each method.
        path (str): Image file to write.
        metric (str): Name of the plotted percentage. Defaults to "accuracy".
    """
    from matplotlib.ticker import LogLocator

    figure = new_figure(9, 4.2)
    axes = figure.subplots(1, 2, sharey=True)
    largest = samples[-1]
    for number, name in enumerate(ranking(summaries, samples)):
        if (name, largest) not in summaries or name not in costs:
            continue
        summary, cost = summaries[name, largest], costs[name]
        for axis, x in zip(axes, (cost["flops"] / 1e6, cost["images_per_second"]), strict=True):
            axis.errorbar(
                [x],
                [summary.mean],
                yerr=[summary.std or 0],
                label=drawn(name),
                capsize=3,
                linestyle="none",
                **_style(number),
            )
    for axis, label in zip(axes, ("MFLOPs per image (multiply-adds)", "images/s"), strict=True):
        axis.set_xscale("log")
        axis.xaxis.set_major_locator(LogLocator(subs=(1, 1.5, 2, 3, 5, 7)))
        axis.xaxis.set_major_formatter("{x:g}")
        axis.minorticks_off()
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel(f"test {metric} (%)")
    if axes[1].get_legend_handles_labels()[0]:
        axes[1].legend(fontsize=8)
    figure.suptitle(f"trained on {samples_label(largest)}", fontsize=10)
    save_figure(figure, path, **METADATA)


def plot_curves(
    curves: Mapping[Run, Mapping[str, ScalarCurve]],
    accuracies: Mapping[Run, Sequence[tuple[int, float]]],
    names: Sequence[str],
    samples: Sequence[int | None],
    path: str,
    metric: str = "accuracy",
) -> None:
    """Plot loss and validation accuracy of every run, with one panel per method and subset.

    Args:
        curves (Mapping[Run, Mapping[str, ScalarCurve]]): Logged curves of each run.
        accuracies (Mapping[Run, Sequence[tuple[int, float]]]): Step and accuracy of each
            validation; empty for results of early versions, whose logged accuracies are plotted.
        names (Sequence[str]): Names of the methods, in row order.
        samples (Sequence[int | None]): Images per class of each subset, in column order. The
            panels of a single subset are arranged in three columns.
        path (str): Image file to write.
        metric (str): Name of the plotted percentage. Defaults to "accuracy".
    """
    panels = [(name, count) for name in names for count in samples]
    columns = len(samples) if len(samples) > 1 else min(3, len(names))
    rows = math.ceil(len(panels) / columns)
    figure = new_figure(3.6 * columns + 0.6, 1.9 * rows + 0.5)
    axes = list(figure.subplots(rows, columns, squeeze=False, sharey=True).flat)
    highest = max((value for curve in accuracies.values() for _, value in curve), default=100.0)
    for axis, (name, count) in zip(axes, panels, strict=False):
        _draw_panel(axis, name, count, curves, accuracies, metric)
        axis.set_title(f"{drawn(name)}, {samples_label(count)}", fontsize=8)
        axis.set_ylim(0, min(102, 1.1 * highest + 1))
    for axis in axes[len(panels) :]:
        axis.set_visible(False)
    save_figure(figure, path, **METADATA)


def _draw_panel(
    axis, name: str, count: int | None, curves: Mapping, accuracies: Mapping, metric: str
) -> None:
    losses = axis.twinx()
    for run, found in curves.items():
        if (run.method, run.samples) != (name, count):
            continue
        color = f"C{run.seed % 10}"
        points = accuracies.get(run)
        if not points and "accuracy/top1" in found:
            logged = found["accuracy/top1"]
            points = list(zip(logged.iterations, logged.values, strict=True))
        if points:
            axis.plot(*zip(*points, strict=True), color=color, marker=".")
        if "loss" in found:
            smooth = found["loss"].averaged(3)
            losses.plot(*smooth, color=color, alpha=0.35, linewidth=0.8)
    axis.set_xlabel("step", fontsize=7)
    axis.set_ylabel(f"val. {metric} (%)", fontsize=7)
    losses.set_ylabel("loss (faint)", fontsize=7)
    axis.tick_params(labelsize=7)
    losses.tick_params(labelsize=7)
    axis.grid(alpha=0.3)
