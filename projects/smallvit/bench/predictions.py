"""Stored predictions of each run for each test image, as JSON, for paired tests and error lists."""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence
from dataclasses import dataclass, field

from smallvit.bench.stored import check_predictions, read_or_tell

FILE = "predictions.json"


@dataclass(frozen=True)
class Predicted:
    """Predictions of a run on the test images.

    Args:
        labels (Sequence[int]): True class of each test image.
        predicted (Sequence[int]): Predicted class of each image.
        confidence (Sequence[float]): Probability of the predicted class.
        images (Sequence[str]): Paths of the images, relative to the folder of the data.
    """

    labels: Sequence[int] = field(default_factory=list)
    predicted: Sequence[int] = field(default_factory=list)
    confidence: Sequence[float] = field(default_factory=list)
    images: Sequence[str] = field(default_factory=list)

    @property
    def correct(self) -> list[bool]:
        """list[bool]: Whether the prediction is correct, for each image."""
        return [one == two for one, two in zip(self.labels, self.predicted, strict=True)]


def read_predictions(folder: str, classes: int) -> Predicted | None:
    """Read the stored predictions of a run.

    Args:
        folder (str): Work folder to read.
        classes (int): Number of classes.

    Returns:
        Predicted | None: Predictions; None if the file is damaged or missing, as in benches of
        earlier versions.
    """
    found = read_or_tell(
        osp.join(folder, FILE),
        lambda content: check_predictions(content, classes),
        "excluding the run from paired tests",
    )
    return None if found is None else Predicted(**found)
