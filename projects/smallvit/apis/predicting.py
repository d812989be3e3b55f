"""Predicting many images into a folder, which can be gone on with."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from smallvit.apis.drawing import draw
from smallvit.apis.prediction_folder import PredictionFolder
from smallvit.apis.predictor import Predictor
from smallvit.apis.sources import Item
from smallvit.apis.structures import COLUMNS
from smallvit.errors import SmallvitError

#: What a file that is no image raises, or one that does not fit the model.
BROKEN = (SmallvitError, OSError, ValueError)


@dataclass
class Summary:
    """What a run over many images did.

    Args:
        predicted (int): Images that were predicted now. Defaults to 0.
        finished (int): Images that an earlier run had predicted. Defaults to 0.
        broken (dict[str, str]): Why images could not be read, by their origins.
    """

    predicted: int = 0
    finished: int = 0
    broken: dict[str, str] = field(default_factory=dict)


def predict_into(
    predictor: Predictor,
    items: Iterable[Item],
    folder: PredictionFolder,
    draws: bool = True,
    told: Callable[[Summary], None] = lambda summary: None,
) -> Summary:
    """Predict images, each written when its batch is done.

    An image that cannot be read is noted, and the others go on.

    Args:
        predictor (Predictor): The model.
        items (Iterable[Item]): The images.
        folder (PredictionFolder): Where to write; what it has is not predicted again.
        draws (bool): Whether pictures are drawn. Defaults to True.
        told (Callable): Is called with what was done after each batch.

    Returns:
        Summary: What was done.
    """
    summary = Summary()
    try:
        for batch in _batches(_wanted(items, folder, summary), predictor.batch_size):
            _predict_batch(predictor, batch, folder, draws, summary)
            told(summary)
    finally:  # an interrupted run has its tables too
        folder.write_tables(predictor.task, COLUMNS[predictor.task], predictor.classes)
    return summary


def _wanted(items: Iterable[Item], folder: PredictionFolder, summary: Summary) -> Iterator[Item]:
    for item in items:
        if item.stamp is not None and folder.has(item.name, item.stamp):
            summary.finished += 1
        else:
            yield item


def _batches(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    batch: list[Item] = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _predict_batch(
    predictor: Predictor,
    batch: Sequence[Item],
    folder: PredictionFolder,
    draws: bool,
    summary: Summary,
) -> None:
    good: list[tuple[Item, np.ndarray]] = []
    for item in batch:
        try:
            good.append((item, item.read(predictor)))
        except BROKEN as error:
            _note(item, error, folder, summary)
    for item, image, found in _predicted(predictor, good, folder, summary):
        picture = draw(image, found, predictor.palette, item.name) if draws else None
        folder.add(item.name, item.origin, item.stamp, found, picture)
        summary.predicted += 1


def _predicted(
    predictor: Predictor,
    good: list[tuple[Item, np.ndarray]],
    folder: PredictionFolder,
    summary: Summary,
) -> Iterator[tuple[Item, np.ndarray, Any]]:
    """The predictions; if the batch fails, those of its images that do not, one by one."""
    try:
        found = predictor.predict_arrays([image for _, image in good])
    except BROKEN as error:
        if len(good) == 1:
            return _note(good[0][0], error, folder, summary)
        for each in good:
            yield from _predicted(predictor, [each], folder, summary)
        return
    for (item, image), prediction in zip(good, found, strict=True):
        yield item, image, prediction


def _note(item: Item, error: Exception, folder: PredictionFolder, summary: Summary) -> None:
    reason = str(error).removeprefix(f"{item.origin}: ") or type(error).__name__
    summary.broken[item.origin] = reason
    folder.add_error(item.name, item.origin, reason)


def describe_settings(
    predictor: Predictor, checkpoint: str | os.PathLike, digest: str, **others: Any
) -> dict[str, Any]:
    """Say what decides about predictions, as values of JSON.

    Args:
        predictor (Predictor): The model.
        checkpoint (str | os.PathLike): Its file.
        digest (str): SHA-256 of the file.
        **others (Any): More of it.

    Returns:
        dict[str, Any]: For :class:`PredictionFolder`.
    """
    tiles = {"tile": predictor.tile, "overlap": predictor.overlap if predictor.tile else None}
    return {
        "checkpoint": os.path.basename(os.fspath(checkpoint)),
        "sha256": digest,
        "task": predictor.task,
        "classes": list(predictor.classes),
        "score_thr": predictor.score_thr,
        **tiles,
        **({} if predictor.precision == "fp32" else {"precision": predictor.precision}),
        **others,
    }
