"""What a page for trying a model needs: an image in, a picture and sentences out, never a trace."""

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

#: Classes that are listed with their scores, and rows of the table of objects or classes.
TOP, ROWS = 5, 50


@dataclass(frozen=True)
class Controls:
    """What of a model can be set on its page.

    Args:
        threshold (bool): Whether it predicts objects with scores. Defaults to False.
        budget (tuple[float, float], optional): Least and most GFLOPs of an image, of a calibrated
            cascade. Defaults to None.
        exits (int): Exits of a cascade that is not calibrated. Defaults to 0.
    """

    threshold: bool = False
    budget: tuple[float, float] | None = None
    exits: int = 0


@dataclass(frozen=True)
class Answer:
    """What the page shows of an image.

    Args:
        message (str): A sentence: what was found, or why nothing was predicted.
        picture (np.ndarray, optional): The drawn image, RGB (H, W, 3). Defaults to None.
        scores (dict[str, float]): The surest classes of a classifier.
        rows (list[tuple]): Rows of the table of the others.
        failed (bool): Whether there is no prediction. Defaults to False.
    """

    message: str
    picture: np.ndarray | None = None
    scores: dict[str, float] = field(default_factory=dict)
    rows: list[tuple] = field(default_factory=list)
    failed: bool = False


class DemoModel:
    """Serves the page of a model, one image after the other.

    Args:
        predictor (Predictor): The model.
    """

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor
        self.controls = controls_of(predictor)
        # Threshold and budget are the model's, and two visitors may want others.
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
            path (str, optional): The image file. None where there is none yet.
            threshold (float, optional): Objects with a lower score are left out. Defaults to
                None: as the predictor has it.
            budget (float, optional): Mean GFLOPs of an image, of a calibrated cascade. Defaults
                to None: all exits run.
            exit_number (int, optional): Exit that all images leave at, from 1. Defaults to None.

        Returns:
            Answer: For whatever goes wrong, a sentence.
        """
        if path is None:
            return Answer("Choose an image.", failed=True)
        name = os.path.basename(path)
        try:
            with self._lock:
                return self._answer(path, name, threshold, budget, exit_number)
        except (SmallvitError, OSError, ValueError) as error:
            # Where an upload lies on the server is nobody's business.
            reason = str(error).replace(path, name)
            return Answer(f"Nothing was predicted: {reason}", failed=True)
        except Exception as error:
            traceback.print_exc()
            kind = type(error).__name__
            return Answer(f"The prediction failed ({kind}); the console says where.", failed=True)

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
    """Find out what of a model can be set.

    Args:
        predictor (Predictor): The model.

    Returns:
        Controls: For its page.
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
    """Say in a few words what was predicted.

    Args:
        found (Prediction): The prediction.
        threshold (float): The least score of objects.

    Returns:
        str: The words.
    """
    if isinstance(found, ClassPrediction):
        left = "" if found.exit_index is None else f", left at exit {found.exit_index + 1}"
        return f"{found.name}, score {found.score:.2f}{left}"
    if isinstance(found, InstancePrediction):
        if not len(found):
            return f"No object with a score of {threshold:.2f} or more"
        counts = Counter(class_name(found.classes, int(label)) for label in found.labels)
        kinds = ", ".join(f"{name} ({number})" for name, number in counts.most_common(TOP))
        more = ", ..." if len(counts) > TOP else ""
        return f"{len(found)} object{'s'[: len(found) != 1]}: {kinds}{more}"
    rows = sorted(found.rows(), key=lambda row: -row[2])
    return "Pixels: " + ", ".join(f"{name} {100 * share:.0f}%" for name, _, share in rows[:TOP])


def top_scores(found: Prediction) -> dict[str, float]:
    """List the surest classes of a classifier.

    Args:
        found (Prediction): The prediction.

    Returns:
        dict[str, float]: Scores by name; empty for other tasks.
    """
    if not isinstance(found, ClassPrediction):
        return {}
    scores: dict[str, float] = {}
    for label in np.argsort(-found.scores, kind="stable")[:TOP].tolist():
        name = class_name(found.classes, label)
        # Two classes of one name stay two.
        scores[name if name not in scores else f"{name} ({label})"] = float(found.scores[label])
    return scores
