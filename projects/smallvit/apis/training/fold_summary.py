"""The summary of a cross-validation: mean and standard deviation over the folds."""

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
#: What of each class is printed.
PRINTED = ("recall", "precision", "f1", "iou")
COLUMNS = 4


@dataclass(frozen=True)
class Spread:
    """A metric over the folds.

    Args:
        name (str): The metric.
        values (tuple[float | None, ...]): Of each fold; None where there was nothing to measure.
    """

    name: str
    values: tuple[float | None, ...]

    @property
    def measured(self) -> list[float]:
        """list[float]: The values that there are."""
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float | None:
        """float | None: Their mean."""
        return statistics.fmean(self.measured) if self.measured else None

    @property
    def std(self) -> float | None:
        """float | None: Standard deviation of the folds, over n - 1; None of a single one."""
        return statistics.stdev(self.measured) if len(self.measured) > 1 else None

    def text(self) -> str:
        """Write down mean and standard deviation.

        Returns:
            str: Such as ``71.3 ± 1.2``.
        """
        if self.mean is None:
            return "nothing to measure"
        return _text(self.mean) + (f" ± {_text(self.std)}" if self.std is not None else "")

    def as_dict(self) -> dict[str, Any]:
        """Make it values of JSON.

        Returns:
            dict[str, Any]: ``mean``, ``std`` and ``folds``.
        """
        return {"mean": self.mean, "std": self.std, "folds": list(self.values)}


def _text(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def spreads(results: Sequence[Mapping[str, Any]]) -> list[Spread]:
    """Collect the metrics of the folds.

    Args:
        results (Sequence[Mapping]): Of each fold what :func:`.fold_results.measure` returned.

    Returns:
        list[Spread]: One a metric; the best epoch's, where all folds have it, is last.
    """
    names = dict.fromkeys(name for one in results for name in one["metrics"])
    found = [Spread(name, tuple(one["metrics"].get(name) for one in results)) for name in names]
    best = [one["best"] for one in results if one.get("best")]
    if best and len(best) == len(results):
        name = f"{best[0]['metric']} (best epoch)"
        found.append(Spread(name, tuple(one["value"] for one in best)))
    return found


def class_spreads(results: Sequence[Mapping[str, Any]]) -> dict[str, list[Spread]]:
    """Collect what is known of each class.

    Args:
        results (Sequence[Mapping]): Of each fold what :func:`.fold_results.measure` returned.

    Returns:
        dict[str, list[Spread]]: By class.
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
    """Write metrics as a table.

    Args:
        found (Sequence[Spread]): The metrics.
        numbers (Sequence[int]): The folds.

    Returns:
        list[str]: Lines.
    """
    head = ["metric", *(f"fold {number}" for number in numbers), "mean ± std"]
    return _aligned([head, *([one.name, *map(_text, one.values), one.text()] for one in found)])


def class_lines(found: Mapping[str, Sequence[Spread]], counted: str = "images") -> list[str]:
    """Write what is known of each class as a table.

    Args:
        found (Mapping[str, Sequence[Spread]]): By class.
        counted (str): What was counted. Defaults to "images".

    Returns:
        list[str]: Lines.
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
    """Write the summary of the folds that are finished.

    Args:
        work_dir (str): The folder of all folds, which gets ``summary.json``, ``.csv`` and
            ``.png``, ``per_class.csv``, and, with all folds, what was predicted out of fold.
        results (Mapping[int, Mapping]): Of each fold, by its number.
        count (int): Folds that there are to be.

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
        "std": "of the folds, over n - 1",
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
    """Draw the metrics, a panel each: a point a fold, the mean, and one standard deviation.

    Args:
        found (Sequence[Spread]): The metrics.
        numbers (Sequence[int]): The folds.

    Returns:
        Figure: The figure.
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
    """Join what the folds predicted: each image by the model that was not trained on it.

    Label maps stay where they are, in the folder of each fold.

    Args:
        work_dir (str): The folder of all folds.
        results (Mapping[int, Mapping]): Of each fold, by its number.

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
