"""Sheets of drawn predictions next to the ground truth."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope

from smallvit.analysis.annotations import IGNORED, Annotations, read_sample
from smallvit.analysis.drawing import Style, as_rgb, draw, enlarge
from smallvit.analysis.figures import new_figure, save_figure
from smallvit.analysis.matching import match, overlaps, same_class
from smallvit.datasets.io.images import read_image
from smallvit.engine.predictions import detections_by_image, labels_of
from smallvit.errors import UserError

#: Width in pixels of the white gap between ground truth and prediction.
GAP = 6


class Tile(NamedTuple):
    """Drawn image of a sheet.

    Args:
        image (np.ndarray): RGB (H, W, 3).
        caption (str): Text above the image.
        labels (set[int]): Indices of the drawn classes, for the legend.
    """

    image: np.ndarray
    caption: str
    labels: set[int]


def draw_samples(
    cfg: Config,
    predictions: Sequence[dict],
    num: int,
    size: int,
    score_thr: float,
    seed: int = 0,
    source: str = "the file",
    truth: bool = True,
    **style: bool,
) -> list[Tile]:
    """Draw a random selection of samples.

    Args:
        cfg (Config): Test config; its ``test_dataloader.dataset`` provides the class names.
        predictions (Sequence[dict]): Predictions of the test, in the order of the dataset.
        num (int): Number of samples; all if there are fewer.
        size (int): Shorter side of the drawn images.
        score_thr (float): Minimum score of drawn boxes.
        seed (int): Seed of the selection. Defaults to 0.
        source (str): File of the predictions, for errors. Defaults to "the file".
        truth (bool): Whether to draw the ground truth next to the prediction. Defaults to True.
        **style (bool): Options of :class:`~smallvit.analysis.drawing.Style`.

    Returns:
        list[Tile]: Drawn samples. For classification the first half are errors, if there are
        enough.

    Raises:
        UserError: If the task of the predictions is unknown, or they belong to another dataset.
    """
    init_default_scope(cfg.get("default_scope", "mmengine"))
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    if not predictions or "image_id" in predictions[0]:
        predictions = detections_by_image(dataset, predictions, source)
    if len(predictions) > len(dataset):
        raise UserError(
            f"expected predictions for {len(dataset)} images as in test_dataloader.dataset, got "
            f"{len(predictions)} in {source}. Use predictions for the same dataset"
        )
    order = np.random.RandomState(seed).permutation(len(predictions))[: len(predictions)]
    first, look = predictions[0], Style.of(dataset.metainfo, **style)
    if "pred_label" in first:
        order = _wrong_and_right(predictions, order, num)
        return [_class_tile(predictions[i], dataset, int(i), size, look) for i in order]
    if "pred_instances" not in first and "pred_sem_seg" not in first:
        raise UserError(f"predictions with the keys {', '.join(sorted(first))} cannot be drawn")
    return [
        _pair(predictions[i], dataset, int(i), size, score_thr, look, truth) for i in order[:num]
    ]


def style_of(cfg: Config) -> Style:
    """Create the drawing style of a config's test data, for a legend.

    Args:
        cfg (Config): Resolved config with a test dataset.

    Returns:
        Style: Names and colors of the classes.
    """
    init_default_scope(cfg.get("default_scope", "mmengine"))
    return Style.of(DATASETS.build(cfg.test_dataloader.dataset).metainfo)


def save_sheet(tiles: Sequence[Tile], path: str, columns: int, style: Style | None = None) -> None:
    """Write images in a grid with captions.

    Args:
        tiles (Sequence[Tile]): Images and captions.
        path (str): Path of the image to write; the extension determines the format.
        columns (int): Images per row.
        style (Style, optional): Names and colors for a legend of the drawn classes. Defaults to
            None: no legend.
    """
    rows = -(-len(tiles) // columns)
    shape = np.mean([tile.image.shape[:2] for tile in tiles], axis=0)
    figure = new_figure(3 * columns * max(shape[1] / shape[0], 0.6), 3.3 * rows)
    figure.get_layout_engine().set(h_pad=0.15)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, tile in zip(axes, tiles, strict=False):
        axis.imshow(tile.image)
        axis.set_title(tile.caption, fontsize=9)
    drawn = sorted(set().union(*(tile.labels for tile in tiles)))
    if style is not None and drawn:
        figure.legend(handles=style.legend(drawn), loc="outside lower center", ncols=6, fontsize=9)
    save_figure(figure, path)


def _is_right(prediction: dict) -> bool:
    said, truth = (prediction.get(key) for key in ("pred_label", "gt_label"))
    return truth is None or set(labels_of(said)) == set(labels_of(truth))


def _wrong_and_right(predictions: Sequence[dict], order: Iterable[int], num: int) -> list[int]:
    """Select as many errors as correct samples, if possible, with the errors first."""
    groups: dict[bool, list[int]] = {False: [], True: []}
    for number in order:
        groups[_is_right(predictions[number])].append(int(number))
    wrong, right = groups[False], groups[True]
    share = max(num - len(right), (num + 1) // 2)
    wrong = wrong[:share]
    return [*wrong, *right[: num - len(wrong)]]


def _class_tile(prediction: dict, dataset: Any, index: int, size: int, style: Style) -> Tile:
    info = dataset.get_data_info(index)
    image = as_rgb(info["img"] if "img" in info else read_image(info["img_path"]))
    said, truth = (
        ", ".join(map(style.name, map(int, labels_of(prediction[key])))) or "no class"
        if key in prediction
        else None
        for key in ("pred_label", "gt_label")
    )
    score = np.nanmax(np.array(prediction["pred_score"], dtype=np.float64), initial=0)
    verdict = ", right" if _is_right(prediction) else f", WRONG, is {truth}"
    caption = f"{said} ({score:.2f}){verdict if truth else ''}"
    return Tile(enlarge(image, Annotations(), size)[0], caption, set())


def _pair(
    prediction: dict,
    dataset: Any,
    index: int,
    size: int,
    score_thr: float,
    style: Style,
    with_truth: bool,
) -> Tile:
    """Draw the ground truth, if available, with the prediction beside it."""
    stored, truth = read_sample(dataset, index)
    said = predicted_annotations(prediction, stored.shape[:2]).above(score_thr)
    picture = as_rgb(stored)
    drawn = [said] if truth.is_empty or not with_truth else [truth, said]
    images = [draw(*enlarge(picture, known, size), style) for known in drawn]
    name = os.path.basename(prediction.get("img_path") or dataset.get_data_info(index)["img_path"])
    caption = name if len(drawn) == 1 else f"{name}: truth, prediction\n{_compare(said, truth)}"
    labels = set().union(*(labels_in(known, style) for known in drawn))
    return Tile(side_by_side(images), caption, labels)


def side_by_side(images: list[np.ndarray]) -> np.ndarray:
    """Concatenate images of equal height.

    Args:
        images (list[np.ndarray]): RGB (H, W, 3); lower images are padded.

    Returns:
        np.ndarray: The images with white gaps between them.
    """
    height = max(len(image) for image in images)
    images = [
        np.pad(image, ((0, height - len(image)), (0, 0), (0, 0)), constant_values=255)
        for image in images
    ]
    gap = np.full((images[0].shape[0], GAP, 3), 255, np.uint8)
    parts = [part for image in images for part in (gap, image)]
    return np.concatenate(parts[1:], axis=1)


def labels_in(known: Annotations, style: Style) -> set[int]:
    """List the classes of an image's objects or pixels.

    Args:
        known (Annotations): Annotations of the image.
        style (Style): Names of the classes; classes without a name are omitted.

    Returns:
        set[int]: Class indices.
    """
    labels = known.labels or () if known.label_map is None else np.unique(known.label_map)
    return {int(label) for label in labels if label < len(style.classes)}


def predicted_annotations(prediction: dict, shape: tuple[int, int]) -> Annotations:
    """Extract the prediction for an image.

    Args:
        prediction (dict): ``pred_sem_seg``, or ``pred_instances`` with COCO's run-length encoded
            ``masks`` and ``img_path``.
        shape (tuple[int, int]): Height and width of the image.

    Returns:
        Annotations: Predicted annotations.

    Raises:
        UserError: If a mask has another size.
    """
    if "pred_sem_seg" in prediction:
        return Annotations(label_map=np.asarray(prediction["pred_sem_seg"]["data"]).squeeze(0))
    from pycocotools import mask as coco_mask

    found = prediction["pred_instances"]
    masks = found.get("masks")
    for mask in masks or ():
        if list(mask["size"]) != list(shape):
            raise UserError(
                f"{prediction['img_path']} has {tuple(shape)} pixels, but a predicted mask has "
                f"{tuple(mask['size'])}. Use predictions for the same dataset"
            )
    return Annotations(
        labels=np.asarray(found["labels"]).tolist(),
        boxes=np.asarray(found["bboxes"], dtype=np.float64).reshape(-1, 4),
        scores=np.asarray(found["scores"]).tolist(),
        masks=np.stack(
            [coco_mask.decode(mask).astype(bool) for mask in masks] or [_no_mask(shape)]
        )[: len(masks)]
        if masks is not None
        else None,
    )


def _no_mask(shape: tuple[int, int]) -> np.ndarray:
    return np.zeros(shape, bool)


def _compare(said: Annotations, truth: Annotations) -> str:
    if truth.label_map is not None:
        valid = truth.label_map != IGNORED
        right = (said.label_map == truth.label_map)[valid]
        return f"{100 * right.mean():.1f}% of pixels correct" if right.size else "no ground truth"
    matches = match(overlaps(said, truth), np.array(said.scores), same_class(said, truth), 0.5)
    right = sum(number is not None for number in matches.truth_of)
    return f"{right} right, {len(said.labels) - right} wrong, {len(matches.missed)} missed"
