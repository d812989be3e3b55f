"""Resumable prediction of many images into a folder."""

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

#: Exceptions for files that are not images, and for images that do not match the model.
BROKEN = (SmallvitError, OSError, ValueError)


@dataclass
class Summary:
    """Summary of a prediction run.

    Args:
        predicted (int): Number of images predicted in this run. Defaults to 0.
        finished (int): Number of images predicted in an earlier run. Defaults to 0.
        broken (dict[str, str]): Error message of each image that could not be predicted, by origin.
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
    """Predict images and write the predictions after each batch.

    Images that cannot be read are recorded and skipped.

    Args:
        predictor (Predictor): Predictor to run.
        items (Iterable[Item]): Images to predict.
        folder (PredictionFolder): Folder to write to; images it already has are skipped.
        draws (bool): Whether to draw the predictions on the images. Defaults to True.
        told (Callable): Callback that receives the summary so far after each batch.

    Returns:
        Summary: Numbers of images, and errors.
    """
    summary = Summary()
    try:
        for batch in _batches(_wanted(items, folder, summary), predictor.batch_size):
            _predict_batch(predictor, batch, folder, draws, summary)
            told(summary)
    finally:  # also write the tables of an interrupted run
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
        picture = None
        if draws:
            picture = draw(predictor.steps.shown(image), found, predictor.palette, item.name)
        folder.add(item.name, item.origin, item.stamp, found, picture)
        summary.predicted += 1


def _predicted(
    predictor: Predictor,
    good: list[tuple[Item, np.ndarray]],
    folder: PredictionFolder,
    summary: Summary,
) -> Iterator[tuple[Item, np.ndarray, Any]]:
    """Predict a batch; if it fails, predict its images one by one and record those that fail."""
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
    """Collect the settings that affect predictions, as JSON values.

    Args:
        predictor (Predictor): Predictor with these settings.
        checkpoint (str | os.PathLike): Path of its checkpoint.
        digest (str): SHA-256 of the checkpoint.
        **others (Any): Additional settings.

    Returns:
        dict[str, Any]: Settings for :class:`PredictionFolder`.
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
