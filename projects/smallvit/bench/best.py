"""The best network of a bench: errors by class, and commands to use it."""

from __future__ import annotations

import base64
import io
import os.path as osp
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from smallvit.bench.findings import Findings
from smallvit.bench.predictions import Predicted
from smallvit.bench.results import ranking
from smallvit.bench.settings import Run, samples_label

#: With more classes, no confusion matrix is shown.
MOST_CLASSES = 20
#: Number of errors shown, and the longer side of their thumbnails in pixels.
ERRORS, SIDE = 12, 64


@dataclass(frozen=True)
class Mistake:
    """Misclassified image with a high confidence.

    Args:
        image (str): Path of the image relative to the data.
        right (str): True class.
        said (str): Predicted class.
        confidence (float): Probability of the predicted class.
        picture (str | None): Thumbnail as base64-encoded PNG; None if the image is missing.
    """

    image: str
    right: str
    said: str
    confidence: float
    picture: str | None


@dataclass(frozen=True)
class Best:
    """Best method on the largest subset.

    Args:
        title (str): Method and subset.
        run (Run): Run of the method with the best validation accuracy.
        commands (list[str]): Commands that predict and export with its weights, and compute the
            exit thresholds of DVT.
        names (list[str]): Names of the classes.
        classes (list): For each class its name, number of test images, accuracy over all
            seeds, and the classes with which it is confused most; empty without stored
            predictions, as for detection and segmentation.
        matrix (list): Rows of the confusion matrix, each with the name of the true class before
            the counts; empty with many classes, or without stored predictions.
        mistakes (list[Mistake]): Errors of the run with the highest confidence.
    """

    title: str
    run: Run
    commands: list[str]
    names: list[str]
    classes: list
    matrix: list
    mistakes: list[Mistake]


def find_best(found: Findings, out: str) -> Best:
    """Summarize the best method of a bench.

    Args:
        found (Findings): Findings of the bench.
        out (str): Folder of the bench.

    Returns:
        Best: Best method.
    """
    for count in reversed(found.samples):
        there = {key: each for key, each in found.summaries.items() if key[1] == count}
        names = ranking(there, [count])
        if names:
            break
    runs = [run for run in found.results if (run.method, run.samples) == (names[0], count)]
    chosen = max(runs, key=lambda run: (found.results[run]["val_accuracy"], -run.seed))
    classes = found.plan["data"]["classes"]
    tested = [found.tested[run] for run in runs if run in found.tested]
    counts = confusion(tested, len(classes))
    mistakes = []
    if chosen in found.tested:
        mistakes = _mistakes(found.tested[chosen], classes, found.plan["settings"].data)
    file = shlex.quote(osp.join(chosen.folder(out), "model.pth"))
    predicted, exported = (shlex.quote(osp.join(out, name)) for name in ("predicted", "model.onnx"))
    commands = [
        f"smallvit predict {file} IMAGES --out {predicted}",
        f"smallvit export {file} --out {exported} --preprocess",
    ]
    if chosen.method.partition("+")[0] == "dvt":
        config = shlex.quote(osp.join(chosen.folder(out), "config.py"))
        commands.insert(0, f"smallvit calibrate {config} {file} --evaluate")
    return Best(
        title=f"{names[0]}, {samples_label(count)}",
        run=chosen,
        names=classes,
        classes=_classes(classes, counts, len(tested)),
        matrix=_matrix(classes, counts) if tested else [],
        mistakes=mistakes,
        commands=commands,
    )


def confusion(tested: Sequence[Predicted], classes: int) -> list[list[int]]:
    """Compute the confusion matrix.

    Args:
        tested (Sequence[Predicted]): Predictions of some runs.
        classes (int): Number of classes.

    Returns:
        list[list[int]]: Counts by true and predicted class.
    """
    counts = [[0] * classes for _ in range(classes)]
    for each in tested:
        for label, said in zip(each.labels, each.predicted, strict=True):
            counts[label][said] += 1
    return counts


def _classes(names: Sequence[str], counts: Sequence[Sequence[int]], runs: int) -> list:
    rows = []
    for label, row in enumerate(counts):
        total = sum(row)
        if not total:
            continue
        wrong = Counter({names[k]: n for k, n in enumerate(row) if n and k != label})
        most = ", ".join(f"{name} {100 * n / total:.0f}%" for name, n in wrong.most_common(2))
        rows.append((names[label], total // runs, f"{100 * row[label] / total:.1f}", most or "-"))
    return sorted(rows, key=lambda row: float(row[2]))


def _matrix(names: Sequence[str], counts: Sequence[Sequence[int]]) -> list:
    if len(names) > MOST_CLASSES:
        return []
    return [(name, *row) for name, row in zip(names, counts, strict=True)]


def _mistakes(tested: Predicted, names: Sequence[str], data: str) -> list[Mistake]:
    wrong = [number for number, right in enumerate(tested.correct) if not right]
    wrong.sort(key=lambda number: -tested.confidence[number])
    return [
        Mistake(
            tested.images[number],
            names[tested.labels[number]],
            names[tested.predicted[number]],
            tested.confidence[number],
            _picture(data, tested.images[number]),
        )
        for number in wrong[:ERRORS]
    ]


def _picture(data: str, name: str) -> str | None:
    """Make a thumbnail of an image; paths outside the data folder are ignored."""
    if osp.isfile(data):  # a table of labels, beside or above its images
        data = osp.dirname(osp.abspath(data))
    path = osp.realpath(osp.join(data, name))
    inside = osp.commonpath([osp.realpath(data), path]) == osp.realpath(data)
    if not inside or not osp.isfile(path):
        return None
    from PIL import Image

    try:
        with Image.open(path) as image:
            small = image.convert("RGB")
            small.thumbnail((SIDE, SIDE))
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    file = io.BytesIO()
    small.save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
