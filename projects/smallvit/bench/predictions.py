"""What each run says of each test image: plain JSON, for paired tests and to show errors."""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence
from dataclasses import dataclass, field

from smallvit.bench.stored import check_predictions, read_or_tell

FILE = "predictions.json"


@dataclass(frozen=True)
class Predicted:
    """Predictions of a run.

    Args:
        labels (Sequence[int]): The right class of each test image.
        predicted (Sequence[int]): What the network says.
        confidence (Sequence[float]): Its probability.
        images (Sequence[str]): The images, relative to the folder of the data.
    """

    labels: Sequence[int] = field(default_factory=list)
    predicted: Sequence[int] = field(default_factory=list)
    confidence: Sequence[float] = field(default_factory=list)
    images: Sequence[str] = field(default_factory=list)

    @property
    def correct(self) -> list[bool]:
        """list[bool]: Of each image, whether the network is right."""
        return [one == two for one, two in zip(self.labels, self.predicted, strict=True)]


def read_predictions(folder: str, classes: int) -> Predicted | None:
    """Read what a run predicted.

    Args:
        folder (str): Its work folder.
        classes (int): Number of classes.

    Returns:
        Predicted | None: None where there is no such file, as in benches of earlier versions,
        or it is damaged.
    """
    found = read_or_tell(
        osp.join(folder, FILE),
        lambda content: check_predictions(content, classes),
        "the run takes part in no paired test",
    )
    return None if found is None else Predicted(**found)
