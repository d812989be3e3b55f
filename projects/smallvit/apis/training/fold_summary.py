"""Summary of a cross-validation: mean and standard deviation over the folds."""

from __future__ import annotations

import csv
import io
import json
import os.path as osp
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from smallvit.analysis.confusion import Confusion, matrix_figure
from smallvit.analysis.figures import new_figure, save_figure
from smallvit.apis.training.folds import fold_folder
from smallvit.engine.predictions import labels_of, read_predictions, write_classes, write_instances
from smallvit.utils.files import write_whole

SUMMARY, OF_CLASSES, OUT_OF_FOLD = "summary", "per_class", "out_of_fold"
#: Metrics of each class that are printed.
PRINTED = ("recall", "precision", "f1", "iou")
COLUMNS = 4


@dataclass(frozen=True)
class Spread:
    """Values of one metric over the folds.

    Args:
        name (str): Metric, e.g. ``accuracy/top1``.
        values (tuple[float | None, ...]): Value in each fold; None if there was nothing to
            evaluate.
    """

    name: str
    values: tuple[float | None, ...]

    @property
    def measured(self) -> list[float]:
        """list[float]: Values without those that are None."""
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float | None:
        """float | None: Mean over the folds; None if there are no values."""
        return statistics.fmean(self.measured) if self.measured else None

    @property
    def std(self) -> float | None:
        """float | None: Standard deviation with n - 1; None if there are less than two values."""
        return statistics.stdev(self.measured) if len(self.measured) > 1 else None

    def text(self) -> str:
        """Format mean and standard deviation.

        Returns:
            str: Text such as ``71.3 ± 1.2``.
        """
        if self.mean is None:
            return "nothing to evaluate"
        return _text(self.mean) + (f" ± {_text(self.std)}" if self.std is not None else "")

    def as_dict(self) -> dict[str, Any]:
        """Convert to a JSON-serializable dictionary.

        Returns:
            dict[str, Any]: ``mean``, ``std`` and ``folds``.
        """
        return {"mean": self.mean, "std": self.std, "folds": list(self.values)}


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def spreads(results: Sequence[Mapping[str, Any]]) -> list[Spread]:
    """Collect the metrics of the folds.

    Args:
        results (Sequence[Mapping]): Results of :func:`.fold_results.measure`, one for each fold.

    Returns:
        list[Spread]: One entry for each metric, followed by that of the best epoch if all folds
        have one.
    """
    names = dict.fromkeys(name for one in results for name in one["metrics"])
    found = [Spread(name, tuple(one["metrics"].get(name) for one in results)) for name in names]
    best = [one["best"] for one in results if one.get("best")]
    if best and len(best) == len(results):
        name = f"{best[0]['metric']} (best epoch)"
        found.append(Spread(name, tuple(one["value"] for one in best)))
    return found


def class_spreads(results: Sequence[Mapping[str, Any]]) -> dict[str, list[Spread]]:
    """Collect the metrics of each class over the folds.

    Args:
        results (Sequence[Mapping]): Results of :func:`.fold_results.measure`, one for each fold.

    Returns:
        dict[str, list[Spread]]: Metrics by class.
    """
    names = dict.fromkeys(name for one in results for name in one["classes"])
    return {
        name: [
            Spread(key, tuple(one["classes"].get(name, {}).get(key) for one in results))
            for key in PRINTED
        ]
        for name in names
    }


def table_lines(found: Sequence[Spread], numbers: Sequence[int]) -> list[str]:
    """Format metrics as a table with one column for each fold.

    Args:
        found (Sequence[Spread]): Metrics over the folds.
        numbers (Sequence[int]): Numbers of the folds.

    Returns:
        list[str]: Lines of text.
    """
    head = ["metric", *(f"fold {number}" for number in numbers), "mean ± std"]
    return _aligned([head, *([one.name, *map(_text, one.values), one.text()] for one in found)])


def class_lines(found: Mapping[str, Sequence[Spread]], counted: str = "images") -> list[str]:
    """Format the metrics of each class as a table.

    Args:
        found (Mapping[str, Sequence[Spread]]): Metrics by class.
        counted (str): Unit that the metrics count. Defaults to "images".

    Returns:
        list[str]: Lines of text.
    """
    rows = [[name, *(one.text() for one in each)] for name, each in found.items()]
    return [f"in percent of {counted}:", *_aligned([["class", *PRINTED], *rows])]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]


def write_summary(work_dir: str, results: Mapping[int, Mapping[str, Any]], count: int) -> list[str]:
    """Write the summary of the finished folds.

    Args:
        work_dir (str): Folder of the cross-validation. ``summary.json``, ``.csv`` and ``.png``,
            ``per_class.csv`` and, once all folds are finished, the out-of-fold predictions are
            written there.
        results (Mapping[int, Mapping]): Results by number of the fold.
        count (int): Total number of folds.

    Returns:
        list[str]: Names of the files.
    """
    numbers, found = list(results), spreads(list(results.values()))
    classes = class_spreads(list(results.values()))
    files = [f"{SUMMARY}.json", f"{SUMMARY}.csv", f"{OF_CLASSES}.csv", f"{SUMMARY}.png"]
    content = {
        "folds": count,
        "finished": numbers,
        "images": [one["images"] for one in results.values()],
        "std": "over the folds, with n - 1",
        "metrics": {one.name: one.as_dict() for one in found},
        "classes_in_percent_of": next(iter(results.values()))["counted"],
        "classes": {
            name: {one.name: one.as_dict() for one in each} for name, each in classes.items()
        },
    }
    write_whole(osp.join(work_dir, files[0]), json.dumps(content, indent=2))
    columns = ["mean", "std", *(f"fold_{number}" for number in numbers)]
    rows = ([one.name, one.mean, one.std, *one.values] for one in found)
    _write_csv(osp.join(work_dir, files[1]), ["metric", *columns], rows)
    rows = (
        [name, one.name, one.mean, one.std, *one.values]
        for name, each in classes.items()
        for one in each
    )
    _write_csv(osp.join(work_dir, files[2]), ["class", "metric", *columns], rows)
    save_figure(draw_spreads(found, numbers), osp.join(work_dir, files[3]))
    if len(numbers) == count:
        files += write_out_of_fold(work_dir, results)
    return files


def _write_csv(path: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(["" if value is None else value for value in row] for row in rows)
    write_whole(path, text.getvalue())


def draw_spreads(found: Sequence[Spread], numbers: Sequence[int]) -> Any:
    """Plot each metric in its own panel: value in each fold, mean and standard deviation.

    Args:
        found (Sequence[Spread]): Metrics over the folds.
        numbers (Sequence[int]): Numbers of the folds.

    Returns:
        Figure: Matplotlib figure.
    """
    columns = min(COLUMNS, len(found))
    rows = -(-len(found) // columns)
    figure = new_figure(3.4 * columns, 2.6 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes[len(found) :]:
        axis.set_visible(False)
    for axis, one in zip(axes, found, strict=False):
        values = [np.nan if value is None else value for value in one.values]
        axis.plot(numbers, values, "o", color="C0")
        if one.mean is not None:
            axis.axhline(one.mean, color="C1", linewidth=1)
            spread = one.std or 0.0
            axis.axhspan(one.mean - spread, one.mean + spread, color="C1", alpha=0.15)
        axis.set_xticks(numbers)
        axis.set_xlabel("fold")
        axis.set_title(f"{one.name}\n{one.text()}", fontsize=9)
        axis.grid(alpha=0.3)
    return figure


def write_out_of_fold(work_dir: str, results: Mapping[int, Mapping[str, Any]]) -> list[str]:
    """Merge the out-of-fold predictions: each image by the model that was not trained on it.

    Predicted label maps are not merged; they remain in the folder of each fold.

    Args:
        work_dir (str): Folder of the cross-validation.
        results (Mapping[int, Mapping]): Results by number of the fold.

    Returns:
        list[str]: Names of the files.
    """
    paths = {
        number: osp.join(fold_folder(work_dir, number), one["predictions"])
        for number, one in results.items()
    }
    if any(path.endswith(".npz") for path in paths.values()):
        return []
    joined = [
        {**one, "fold": number} for number, path in paths.items() for one in read_predictions(path)
    ]
    name = f"{OUT_OF_FOLD}.json"
    if not joined or "image_id" in joined[0]:
        write_instances(osp.join(work_dir, name), joined)
        return [name]
    classes = list(next(iter(results.values()))["classes"])
    write_classes(osp.join(work_dir, name), joined, classes)
    rows, matrix = [], np.zeros((len(classes), len(classes)), dtype=np.int64)
    for one in joined:
        (truth,), (said,) = labels_of(one["gt_label"]), labels_of(one["pred_label"])
        matrix[truth, said] += 1
        scores = [score or 0.0 for score in one["pred_score"]]
        path = one.get("img_path", "")
        rows.append([path, one["fold"], classes[truth], classes[said], max(scores)])
    head = ["image", "fold", "class", "predicted", "score"]
    _write_csv(osp.join(work_dir, f"{OUT_OF_FOLD}.csv"), head, rows)
    figure = matrix_figure(Confusion(matrix, classes, "images"))
    save_figure(figure, osp.join(work_dir, "confusion.png"))
    return [name, f"{OUT_OF_FOLD}.csv", "confusion.png"]
