"""Pictures of predictions: the libraries' visualizers on enlarged images, on one sheet."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import mmcv
import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, init_default_scope
from mmengine.structures import InstanceData, PixelData

from smallvit.analysis.figures import new_figure, save_figure
from smallvit.compat import drawn_texts
from smallvit.datasets.io.images import read_image
from smallvit.engine.predictions import detections_by_image, labels_of
from smallvit.errors import UserError

#: A drawn image (H, W, 3), RGB, and the line above it.
Tile = tuple[np.ndarray, str]


def draw_samples(
    cfg: Config,
    predictions: Sequence[dict],
    num: int,
    size: int,
    score_thr: float,
    seed: int = 0,
    source: str = "the file",
) -> list[Tile]:
    """Draw a random choice of samples.

    Args:
        cfg (Config): Config of the test; its ``test_dataloader.dataset`` names the classes.
        predictions (Sequence[dict]): What the test wrote, in the order of the data set.
        num (int): How many to draw; all if there are fewer.
        size (int): Shorter side of the drawn images.
        score_thr (float): Boxes with a lower score are left out.
        seed (int): Seed of the choice. Defaults to 0.
        source (str): File of the predictions, for errors. Defaults to "the file".

    Returns:
        list[Tile]: Images and captions. In classification the wrong ones come first.

    Raises:
        UserError: If the predictions are of no known task, or not of this data set.
    """
    drawn_texts.install()
    init_default_scope(cfg.get("default_scope", "mmengine"))
    dataset = DATASETS.build(cfg.test_dataloader.dataset)
    if not predictions or "image_id" in predictions[0]:
        predictions = detections_by_image(dataset, predictions, source)
    if len(predictions) > len(dataset):
        raise UserError(
            f"{source} has predictions of {len(predictions)} images, and test_dataloader.dataset "
            f"has {len(dataset)}: is it of another data set?"
        )
    order = np.random.RandomState(seed).permutation(len(predictions))
    first = predictions[0]
    if "pred_label" in first:
        wrong_first = np.argsort([_is_right(predictions[i]) for i in order], kind="stable")
        order, draw = order[wrong_first], _draw_classes
    elif "pred_instances" in first:
        draw = _draw_instances
    elif "pred_sem_seg" in first:
        draw = _draw_segments
    else:
        raise UserError(f"predictions with the keys {', '.join(sorted(first))} cannot be drawn")
    return [draw(predictions[i], dataset, int(i), size, score_thr) for i in order[:num]]


def save_sheet(tiles: Sequence[Tile], path: str, columns: int) -> None:
    """Write images in a grid, each under its caption.

    Args:
        tiles (Sequence[Tile]): The images and captions.
        path (str): Picture to write; the suffix chooses the format.
        columns (int): Images in a row.
    """
    rows = -(-len(tiles) // columns)
    figure = new_figure(3 * columns, 3.2 * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    for axis in axes:
        axis.set_axis_off()
    for axis, (image, caption) in zip(axes, tiles, strict=False):
        axis.imshow(image)
        axis.set_title(caption, fontsize=9)
    save_figure(figure, path)


def _is_right(prediction: dict) -> bool:
    said, truth = (prediction.get(key) for key in ("pred_label", "gt_label"))
    return truth is None or set(labels_of(said)) == set(labels_of(truth))


def _enlarge(image: np.ndarray, size: int) -> tuple[np.ndarray, float]:
    """RGB image with its shorter side at ``size``, and the factor."""
    factor = size / min(image.shape[:2])
    method = "nearest" if min(image.shape[:2]) < 64 else "bicubic"
    shape = (round(image.shape[1] * factor), round(image.shape[0] * factor))
    return mmcv.imresize(mmcv.bgr2rgb(image), shape, interpolation=method), factor


def _draw_classes(prediction: dict, dataset: Any, index: int, size: int, _: float) -> Tile:
    info = dataset.get_data_info(index)
    image = info["img"] if "img" in info else read_image(info["img_path"])
    said, truth = (
        _names(labels_of(prediction[key]), dataset) if key in prediction else None
        for key in ("pred_label", "gt_label")
    )
    score = np.nanmax(np.array(prediction["pred_score"], dtype=np.float64), initial=0)
    verdict = ", right" if _is_right(prediction) else f", WRONG, is {truth}"
    return _enlarge(image, size)[0], f"{said} ({score:.2f}){verdict if truth else ''}"


def _names(labels: Sequence[int], dataset: Any) -> str:
    classes = dataset.metainfo.get("classes") or ()
    known = [classes[i] if 0 <= i < len(classes) else str(i) for i in map(int, labels)]
    return ", ".join(known) or "no class"


def _draw_instances(prediction: dict, dataset: Any, _: int, size: int, score_thr: float) -> Tile:
    path = prediction["img_path"]
    image = read_image(path)
    drawn = draw_instances(
        image, prediction["pred_instances"], dataset.metainfo, size, score_thr, path
    )
    return drawn, os.path.basename(path)


def draw_instances(
    original: np.ndarray,
    found: Mapping[str, Any],
    metainfo: Mapping[str, Any],
    size: int,
    score_thr: float,
    path: str,
) -> np.ndarray:
    """Draw boxes, masks and class names.

    Args:
        original (np.ndarray): The image, (H, W, 3), BGR.
        found (Mapping): ``bboxes``, ``labels`` and ``scores``, and COCO's run lengths as ``masks``.
        metainfo (Mapping): ``classes`` and their ``palette``.
        size (int): Shorter side of what is drawn on.
        score_thr (float): Boxes with a lower score are left out.
        path (str): Name of the image, for errors.

    Returns:
        np.ndarray: The picture, RGB.

    Raises:
        UserError: If a mask is of another size.
    """
    from mmdet.structures import DetDataSample
    from mmdet.visualization import DetLocalVisualizer
    from pycocotools import mask as coco_mask

    image, factor = _enlarge(original, size)
    keep = torch.as_tensor(found["scores"]) >= score_thr
    instances = InstanceData(
        bboxes=torch.as_tensor(found["bboxes"])[keep] * factor,
        labels=torch.as_tensor(found["labels"])[keep],
        scores=torch.as_tensor(found["scores"])[keep],
    )
    if found.get("masks") is not None:
        kept = [mask for mask, use in zip(found["masks"], keep.tolist(), strict=True) if use]
        for mask in kept:
            if list(mask["size"]) != list(original.shape[:2]):
                raise UserError(
                    f"{path} has {original.shape[:2]} pixels, and a mask of its "
                    f"predictions {tuple(mask['size'])}: are they of another data set?"
                )
        instances.masks = _enlarged_masks([coco_mask.decode(mask) for mask in kept], image.shape)
    visualizer = DetLocalVisualizer()
    visualizer.dataset_meta = metainfo
    visualizer.add_datasample(
        "", image, DetDataSample(pred_instances=instances), draw_gt=False, pred_score_thr=score_thr
    )
    return visualizer.get_image()


def _enlarged_masks(masks: list[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    enlarged = [_enlarge_labels(mask, shape).astype(bool) for mask in masks]
    return np.stack(enlarged) if enlarged else np.zeros((0, *shape[:2]), bool)


def _enlarge_labels(labels: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return mmcv.imresize(labels.astype(np.uint8), shape[1::-1], interpolation="nearest")


def _draw_segments(prediction: dict, dataset: Any, index: int, size: int, _: float) -> Tile:
    path = dataset.get_data_info(index)["img_path"]
    labels = torch.as_tensor(prediction["pred_sem_seg"]["data"]).squeeze(0).numpy()
    drawn = draw_label_map(read_image(path), labels, dataset.metainfo, size)
    return drawn, os.path.basename(path)


def draw_label_map(
    original: np.ndarray, labels: np.ndarray, metainfo: Mapping[str, Any], size: int
) -> np.ndarray:
    """Draw a label map over its image.

    Args:
        original (np.ndarray): The image, (H, W, 3), BGR.
        labels (np.ndarray): (H, W).
        metainfo (Mapping): ``classes`` and their ``palette``.
        size (int): Shorter side of what is drawn on.

    Returns:
        np.ndarray: The picture, RGB.
    """
    from mmseg.structures import SegDataSample
    from mmseg.visualization import SegLocalVisualizer

    image, _ = _enlarge(original, size)
    labels = _enlarge_labels(labels, image.shape)
    sample = SegDataSample(pred_sem_seg=PixelData(data=torch.from_numpy(labels)[None]))
    visualizer = SegLocalVisualizer(alpha=0.6)
    visualizer.dataset_meta = metainfo
    visualizer.add_datasample("", image, sample, draw_gt=False, with_labels=True)
    return visualizer.get_image()
