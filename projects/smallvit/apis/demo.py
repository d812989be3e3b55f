"""Backend of the demo page: predictions as pictures and text, errors as messages."""

from __future__ import annotations

import os
import threading
import time
import traceback
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smallvit.apis.drawing import draw
from smallvit.apis.predictor import Predictor, set_exits
from smallvit.apis.structures import ClassPrediction, InstancePrediction, Prediction, class_name
from smallvit.engine.predictions import DETECTION
from smallvit.errors import SmallvitError

#: Number of classes listed with their scores, and maximum number of table rows.
TOP, ROWS = 5, 50


@dataclass(frozen=True)
class Controls:
    """Controls of the demo page of a model.

    Args:
        threshold (bool): Whether there is a score threshold, as for detectors. Defaults to False.
        budget (tuple[float, float], optional): Minimum and maximum GFLOPs per image of a
            calibrated cascade. Defaults to None.
        exits (int): Number of exits of an uncalibrated cascade. Defaults to 0.
    """

    threshold: bool = False
    budget: tuple[float, float] | None = None
    exits: int = 0


@dataclass(frozen=True)
class Answer:
    """Result for an image on the demo page.

    Args:
        message (str): Summary of the prediction, or the reason why there is none.
        picture (np.ndarray, optional): Image with the prediction drawn, RGB (H, W, 3). Defaults to
            None.
        scores (dict[str, float]): Scores of the most likely classes of a classifier.
        rows (list[tuple]): Table rows of a detector or segmentor.
        failed (bool): Whether there is no prediction. Defaults to False.
    """

    message: str
    picture: np.ndarray | None = None
    scores: dict[str, float] = field(default_factory=dict)
    rows: list[tuple] = field(default_factory=list)
    failed: bool = False


class DemoModel:
    """Thread-safe prediction for the demo page, one image at a time.

    Args:
        predictor (Predictor): Predictor to run.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.controls = controls_of(predictor)
        # Threshold and budget are state of the model, and concurrent requests may differ in them.
        self._lock = threading.Lock()

    def __call__(
        self,
        path: str | None,
        threshold: float | None = None,
        budget: float | None = None,
        exit_number: int | None = None,
    ) -> Answer:
        """Predict an image.

        Args:
            path (str, optional): Path of the image; None if none has been chosen yet.
            threshold (float, optional): Minimum score of objects. Defaults to
                None: that of the predictor.
            budget (float, optional): Mean GFLOPs per image of a calibrated cascade. Defaults
                to None: unchanged.
            exit_number (int, optional): Exit for all images of an uncalibrated cascade, starting
                at 1. Defaults to None: unchanged.

        Returns:
            Answer: The prediction, or an error message.
        """
        if path is None:
            return Answer("Choose an image.", failed=True)
        name = os.path.basename(path)
        try:
            with self._lock:
                return self._answer(path, name, threshold, budget, exit_number)
        except (SmallvitError, OSError, ValueError) as error:
            # Do not reveal the path of an upload on the server.
            reason = str(error).replace(path, name)
            return Answer(f"No prediction: {reason}", failed=True)
        except Exception as error:
            traceback.print_exc()
            kind = type(error).__name__
            return Answer(f"The prediction failed ({kind}). See the console.", failed=True)

    def _answer(
        self,
        path: str,
        name: str,
        threshold: float | None,
        budget: float | None,
        exit_number: int | None,
    ) -> Answer:
        predictor = self.predictor
        if threshold is not None and self.controls.threshold:
            predictor.score_thr = float(threshold)
        if budget is not None and self.controls.budget is not None:
            least, most = self.controls.budget
            set_exits(predictor.model, {"max_gflops": float(np.clip(budget, least, most))})
        elif exit_number is not None and self.controls.exits:
            set_exits(predictor.model, {"exit_index": int(exit_number) - 1})
        image = predictor.read(path)
        began = time.perf_counter()
        (found,) = predictor.predict_arrays([image])
        seconds = time.perf_counter() - began
        height, width = image.shape[:2]
        cost = f"{width}x{height} pixels, {1000 * seconds:.0f} ms"
        return Answer(
            f"{describe(found, predictor.score_thr)} ({cost}).",
            draw(image, found, predictor.palette, name),
            top_scores(found),
            [] if isinstance(found, ClassPrediction) else list(found.rows())[:ROWS],
        )


def controls_of(predictor: Predictor) -> Controls:
    """Determine the controls of the demo page of a model.

    Args:
        predictor (Predictor): Predictor with the model.

    Returns:
        Controls: Controls that the model supports.
    """
    model: Any = predictor.model
    if not hasattr(model, "set_inference"):
        return Controls(threshold=predictor.task == DETECTION)
    calibration = model.calibration
    curve = calibration and (calibration.calibration or calibration.evaluation)
    if curve and calibration.thresholds:
        least, most = max(min(curve.flops), calibration.flops[0]), max(curve.flops)
        if least < most:
            return Controls(budget=(least, most))
    return Controls(exits=model.num_exits)


def describe(found: Prediction, threshold: float) -> str:
    """Summarize a prediction in a line of text.

    Args:
        found (Prediction): Prediction to summarize.
        threshold (float): Minimum score of objects.

    Returns:
        str: Summary.
    """
    if isinstance(found, ClassPrediction):
        left = "" if found.exit_index is None else f", left at exit {found.exit_index + 1}"
        return f"{found.name}, score {found.score:.2f}{left}"
    if isinstance(found, InstancePrediction):
        if not len(found):
            return f"No object with a score of at least {threshold:.2f}"
        counts = Counter(class_name(found.classes, int(label)) for label in found.labels)
        kinds = ", ".join(f"{name} ({number})" for name, number in counts.most_common(TOP))
        more = ", ..." if len(counts) > TOP else ""
        return f"{len(found)} object{'s'[: len(found) != 1]}: {kinds}{more}"
    rows = sorted(found.rows(), key=lambda row: -row[2])
    return "Pixels: " + ", ".join(f"{name} {100 * share:.0f}%" for name, _, share in rows[:TOP])


def top_scores(found: Prediction) -> dict[str, float]:
    """List the classes with the highest scores.

    Args:
        found (Prediction): Prediction of any task.

    Returns:
        dict[str, float]: Scores by class name; empty for tasks other than classification.
    """
    if not isinstance(found, ClassPrediction):
        return {}
    scores: dict[str, float] = {}
    for label in np.argsort(-found.scores, kind="stable")[:TOP].tolist():
        name = class_name(found.classes, label)
        # Keep classes with equal names apart.
        scores[name if name not in scores else f"{name} ({label})"] = float(found.scores[label])
    return scores
