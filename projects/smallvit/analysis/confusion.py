"""Confusion matrices, and error types of detections."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from smallvit.analysis.annotations import Annotations, read_sample
from smallvit.analysis.drawing import Style
from smallvit.analysis.figures import new_figure
from smallvit.analysis.matching import match, overlaps, same_class
from smallvit.analysis.pictures import predicted_annotations
from smallvit.engine.predictions import detections_by_image, labels_of
from smallvit.errors import UserError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Class index of the background.
BACKGROUND = "background"
#: IoU with the ground truth below which a detection counts as background.
FAR = 0.1
#: Error types of predicted and missed objects.
KINDS = {
    "right": "correct class and location",
    "class": "correct location, wrong class",
    "place": "correct class, inaccurate location",
    "class and place": "near an object of another class",
    "duplicate": "object already detected with a higher score",
    "background": "no object",
    "missed": "object without a detection",
}


@dataclass
class Confusion:
    """Confusion matrix and the metrics derived from it.

    Args:
        matrix (np.ndarray): Number of images, objects or pixels of each true class (row) and
            predicted class (column).
        classes (list[str]): Names of rows and columns.
        unit (str): Counted quantity: images, objects or pixels.
        kinds (dict[str, int], optional): Number of objects by error type. Defaults to None.
    """

    matrix: np.ndarray
    classes: list[str]
    unit: str
    kinds: dict[str, int] | None = None

    def rows(self) -> list[dict[str, Any]]:
        """Compute recall, precision, F1 and IoU of each class, in percent.

        Returns:
            list[dict]: ``class``, ``count``, ``recall``, ``precision``, ``f1``, ``iou`` and
            ``most_taken_for``; None where undefined.
        """
        said, known = self.matrix.sum(axis=0), self.matrix.sum(axis=1)
        return [
            self._row(label, int(known[label]), int(said[label]))
            for label, name in enumerate(self.classes)
            if not (name == BACKGROUND and self.kinds is not None)
        ]

    def _row(self, label: int, known: int, said: int) -> dict[str, Any]:
        right = int(self.matrix[label, label])
        others = self.matrix[label].copy()
        others[label] = 0
        confused = others.any()
        return {
            "class": self.classes[label],
            "count": known,
            "recall": _percent(right, known),
            "precision": _percent(right, said),
            "f1": _percent(2 * right, known + said),
            "iou": _percent(right, known + said - right),
            "most_taken_for": self.classes[int(others.argmax())] if confused else None,
        }


def _percent(part: int, whole: int) -> float | None:
    return 100 * part / whole if whole else None


def confusion(
    cfg: Config,
    predictions: Sequence[dict],
    source: str,
    score_thr: float = 0.3,
    iou_thr: float = 0.5,
    masks: bool = False,
) -> Confusion:
    """Compute the confusion matrix of a test.

    Args:
        cfg (Config): Test config; its ``test_dataloader.dataset`` provides the ground truth.
        predictions (Sequence[dict]): Predictions of the test, in the order of the dataset.
        source (str): File of the predictions, for errors.
        score_thr (float): Minimum score of a detection. Defaults to 0.3.
        iou_thr (float): Minimum IoU of a correct detection. Defaults to 0.5.
        masks (bool): Whether to compare masks of objects instead of boxes. Defaults to False.

    Returns:
        Confusion: Confusion matrix; for a detector, the last class is the background.

    Raises:
        UserError: If the predictions belong to another dataset, or do not have one class each.
    """
    init_default_scope(cfg.get("default_scope", "mmengine"))
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    if not predictions or "image_id" in predictions[0]:
        predictions = detections_by_image(dataset, predictions, source)
    if len(predictions) != len(dataset):
        raise UserError(
            f"expected predictions for {len(dataset)} images as in test_dataloader.dataset, got "
            f"{len(predictions)} in {source}. Use predictions for the same dataset"
        )
    style = Style.of(dataset.metainfo)
    if "pred_label" in predictions[0]:
        return _of_classes(predictions, style, source)
    if "pred_sem_seg" in predictions[0]:
        return _of_pixels(dataset, predictions, style)
    return _of_objects(dataset, predictions, style, (score_thr, iou_thr, masks))


def _of_classes(predictions: Sequence[dict], style: Style, source: str) -> Confusion:
    pairs = []
    for prediction in predictions:
        if "gt_label" not in prediction:
            raise UserError(f"{source} contains no ground truth")
        truth, said = labels_of(prediction["gt_label"]), labels_of(prediction["pred_label"])
        if len(truth) != 1 or len(said) != 1:
            raise UserError(
                f"a confusion matrix requires one class per image, got {len(truth)} in {source}"
            )
        pairs.append((int(truth[0]), int(said[0])))
    count = max(len(style.classes), 1 + max(map(max, pairs)))
    matrix = np.zeros((count, count), dtype=np.int64)
    np.add.at(matrix, tuple(np.array(pairs).T), 1)
    return Confusion(matrix, [style.name(label) for label in range(count)], "images")


def _of_pixels(dataset: Any, predictions: Sequence[dict], style: Style) -> Confusion:
    count = len(style.classes)
    matrix = np.zeros((count, count), dtype=np.int64)
    for index, prediction in enumerate(predictions):
        _, truth = read_sample(dataset, index)
        if truth.label_map is None:
            raise UserError(
                "the pipeline of test_dataloader loads no label maps. Add LoadAnnotations to it"
            )
        said = predicted_annotations(prediction, truth.label_map.shape).label_map
        if said.shape != truth.label_map.shape:
            raise UserError(
                f"the predicted label map of image {index} has {said.shape} pixels, the ground "
                f"truth {truth.label_map.shape}. Use predictions for the same dataset"
            )
        valid = (truth.label_map < count) & (said < count)
        places = truth.label_map[valid].astype(np.int64) * count + said[valid]
        matrix += np.bincount(places, minlength=count**2).reshape(count, count)
    return Confusion(matrix, [style.name(label) for label in range(count)], "pixels")


def _of_objects(
    dataset: Any,
    predictions: Sequence[dict],
    style: Style,
    limits: tuple[float, float, bool],
) -> Confusion:
    score_thr, iou_thr, masks = limits
    count = len(style.classes)
    matrix = np.zeros((count + 1, count + 1), dtype=np.int64)
    kinds = Counter(dict.fromkeys(KINDS, 0))
    for index, prediction in enumerate(predictions):
        truth, shape = _known_objects(dataset, index, masks)
        found = predicted_annotations(prediction, shape).above(score_thr)
        if masks and found.labels and found.masks is None:
            raise UserError("the predictions have no masks. Remove --masks")
        iou = overlaps(found, truth, masks)
        scores = np.array(found.scores)
        anything = match(iou, scores, np.ones_like(iou, dtype=bool), iou_thr)
        for label, place in zip(found.labels, anything.truth_of, strict=True):
            matrix[count if place is None else truth.labels[place], label] += 1
        for place in anything.missed:
            matrix[truth.labels[place], count] += 1
        kinds.update(_kinds(found, truth, iou, iou_thr))
    names = [style.name(label) for label in range(count)]
    return Confusion(matrix, [*names, BACKGROUND], "objects", dict(kinds))


def _known_objects(dataset: Any, index: int, masks: bool) -> tuple[Annotations, tuple[int, int]]:
    """Ground truth without crowd objects; reads the image only if masks are needed."""
    if masks:
        image, truth = read_sample(dataset, index)
        if truth.masks is None:
            raise UserError(
                "the pipeline of test_dataloader loads no masks. Set with_mask=True in "
                "LoadAnnotations"
            )
        return truth, image.shape[:2]
    info = dataset.get_data_info(index)
    objects = [each for each in info["instances"] if not each.get("ignore_flag")]
    boxes = np.array([each["bbox"] for each in objects], dtype=np.float64).reshape(-1, 4)
    labels = [each["bbox_label"] for each in objects]
    return Annotations(labels=labels, boxes=boxes), (info["height"], info["width"])


def _kinds(
    found: Annotations, truth: Annotations, iou: np.ndarray, iou_thr: float
) -> Iterator[str]:
    """Error type of each predicted object, and of each missed object."""
    same = same_class(found, truth)
    matches = match(iou, np.array(found.scores), same, iou_thr)
    touched = {place for place in matches.truth_of if place is not None}
    for number, place in enumerate(matches.truth_of):
        if place is not None:
            yield "right"
            continue
        kind, place = _error(iou[number], same[number], iou_thr)
        if kind != "background":
            touched.add(place)
        yield kind
    yield from ("missed" for place in range(len(truth.labels)) if place not in touched)


def _error(iou: np.ndarray, same: np.ndarray, iou_thr: float) -> tuple[str, int]:
    """Error type of an incorrect object, and the ground-truth object closest to it."""
    of_class, of_others = np.where(same, iou, 0.0), np.where(same, 0.0, iou)
    best, other = of_class.max(initial=0.0), of_others.max(initial=0.0)
    if best >= iou_thr:
        return "duplicate", int(of_class.argmax())
    if other >= iou_thr:
        return "class", int(of_others.argmax())
    if best >= FAR:
        return "place", int(of_class.argmax())
    if other >= FAR:
        return "class and place", int(of_others.argmax())
    return "background", -1


def matrix_figure(found: Confusion) -> Figure:
    """Draw a confusion matrix with rows normalized by class.

    Args:
        found (Confusion): Confusion matrix to draw.

    Returns:
        Figure: Heat map, with numbers in the cells if there are at most 20 classes.
    """
    count = len(found.classes)
    shares = found.matrix / np.maximum(found.matrix.sum(axis=1, keepdims=True), 1)
    side = min(max(4.0, 0.45 * count + 2), 24)
    figure = new_figure(side + 1, side)
    axis = figure.subplots()
    drawn = axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(drawn, label=f"fraction of the {found.unit} of a class", shrink=0.8)
    size = 9 if count <= 30 else 5
    axis.set_xticks(range(count), found.classes, rotation=60, ha="right", fontsize=size)
    axis.set_yticks(range(count), found.classes, fontsize=size)
    axis.set_xlabel("predicted")
    axis.set_ylabel("true")
    if count <= 20:
        for row, column in np.argwhere(found.matrix):
            share, number = shares[row, column], int(found.matrix[row, column])
            text = f"{number}" if number < 10**4 else f"{100 * share:.0f}%"
            color = "white" if share > 0.5 else "black"
            axis.text(column, row, text, ha="center", va="center", fontsize=7, color=color)
    return figure
