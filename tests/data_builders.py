"""Builders of tiny datasets, with hooks for injecting a single fault."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

SIZE = 64
CLASSES = ("circle", "square")


def write_coco(
    root: Path,
    change: Callable[[dict], Any] | None = None,
    images: int = 4,
    classes: Sequence[str] = CLASSES,
    name: str = "train",
) -> Path:
    """Write an annotation file with two squares per image, and the images.

    Args:
        root (Path): Output folder.
        change (Callable, optional): Changes the content before it is written. Defaults to None.
        images (int): Number of images. Defaults to 4.
        classes (Sequence[str]): Category names; ids start at 1.
        name (str): Name of the file and of the image folder. Defaults to "train".

    Returns:
        Path: The annotation file.
    """
    (root / name).mkdir(parents=True, exist_ok=True)
    content: dict[str, list] = {
        "images": [],
        "annotations": [],
        "categories": [dict(id=number, name=one) for number, one in enumerate(classes, 1)],
    }
    for number in range(1, images + 1):
        pixels = np.full((SIZE, SIZE, 3), 230, np.uint8)
        for place in range(2):
            x, y, side = 4 + 30 * place, 6 + 3 * number, 20 + number
            pixels[y : y + side, x : x + side] = (200, 60, 40) if place else (30, 60, 200)
            content["annotations"].append(
                dict(
                    id=len(content["annotations"]) + 1,
                    image_id=number,
                    category_id=(number + place) % len(classes) + 1,
                    bbox=[x, y, side, side],
                    area=side * side,
                    iscrowd=0,
                    segmentation=[[x, y, x + side, y, x + side, y + side, x, y + side]],
                )
            )
        Image.fromarray(pixels).save(root / name / f"{number}.png")
        content["images"].append(
            dict(id=number, file_name=f"{number}.png", width=SIZE, height=SIZE)
        )
    if change is not None:
        change(content)
    path = root / f"{name}.json"
    path.write_text(json.dumps(content))
    return path


def each(change: Callable[[dict], Any]) -> Callable[[dict], None]:
    """Apply a change to every annotation.

    Args:
        change (Callable): Changes one annotation.

    Returns:
        Callable: Changes the content of a file.
    """

    def change_all(content: dict) -> None:
        for annotation in content["annotations"]:
            change(annotation)

    return change_all


def coco_dataset(
    root: Path,
    name: str = "train",
    classes: Sequence[str] = CLASSES,
    masks: bool = True,
    **settings: Any,
) -> Any:
    """Build the dataset of a file from :func:`write_coco`, as a smallvit run does.

    Args:
        root (Path): Folder of the file.
        name (str): File name. Defaults to "train".
        classes (Sequence[str]): Classes of the dataset.
        masks (bool): Whether the pipeline loads masks. Defaults to True.
        **settings: Further arguments of the dataset.

    Returns:
        CocoDataset: The dataset.
    """
    from smallvit.datasets.coco import CocoDataset

    return CocoDataset(**coco_settings(root, name, classes, masks), **settings)


def coco_settings(
    root: Path, name: str = "train", classes: Sequence[str] = CLASSES, masks: bool = True
) -> dict[str, Any]:
    """Return the arguments of that dataset.

    Args:
        root (Path): Folder of the file.
        name (str): File name. Defaults to "train".
        classes (Sequence[str]): Classes of the dataset.
        masks (bool): Whether the pipeline loads masks. Defaults to True.

    Returns:
        dict: Arguments.
    """
    pipeline = [
        dict(type="mmdet.LoadImageFromFile"),
        dict(type="mmdet.LoadAnnotations", with_bbox=True, with_mask=masks),
        dict(type="mmdet.PackDetInputs"),
    ]
    return dict(
        data_root=str(root),
        ann_file=f"{name}.json",
        data_prefix=dict(img=f"{name}/"),
        metainfo=dict(classes=classes),
        pipeline=pipeline,
    )


def loaded(dataset: Any) -> list[tuple[list[float], int, int]]:
    """Load all samples of a detection dataset as in training.

    Args:
        dataset (CocoDataset): The dataset.

    Returns:
        list[tuple]: Box, label and mask area of each object.
    """
    found = []
    for sample in (dataset[index] for index in range(len(dataset))):
        objects = sample["data_samples"].gt_instances
        boxes = objects.bboxes.tensor.tolist()
        areas = objects.masks.masks.sum((1, 2)).tolist() if "masks" in objects else [0] * len(boxes)
        found += list(zip(boxes, objects.labels.tolist(), areas, strict=True))
    return found


def usage_of(dataset: Any, split: str = "train") -> Any:
    """Describe which parts of a dataset a run uses.

    Args:
        dataset (Dataset): A dataset that does not wrap another one.
        split (str): ``train``, ``val`` or ``test``. Defaults to "train".

    Returns:
        Usage: The description.
    """
    from smallvit.datasets.describe import describe

    (usage,) = describe(dataset, split)
    return usage


def measure_perfect_boxes(metric: Any, dataset: Any) -> dict[str, float]:
    """Evaluate a metric with the ground truth of a dataset as predictions.

    Args:
        metric (CocoMetric): The metric.
        dataset (CocoDataset): The dataset, in test mode.

    Returns:
        dict[str, float]: Metric values.
    """
    import torch
    from mmengine.structures import InstanceData

    metric.dataset_meta = dataset.metainfo
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        objects = info["instances"]
        found = InstanceData(
            bboxes=torch.tensor([one["bbox"] for one in objects], dtype=torch.float),
            scores=torch.ones(len(objects)),
            labels=torch.tensor([one["bbox_label"] for one in objects]),
        )
        sample = dict(img_id=info["img_id"], ori_shape=(SIZE, SIZE), pred_instances=found)
        metric.process({}, [sample])
    return metric.evaluate(len(dataset))


def write_maps(
    root: Path, save: Callable[[np.ndarray, Path], Any] | None = None, images: int = 4
) -> None:
    """Write images with label maps: background and a disc of class 1.

    Args:
        root (Path): Output folder; ``images`` and ``masks`` are created in it.
        save (Callable, optional): Saves a uint8 map to a path. Defaults to None, which saves it
            unchanged.
        images (int): Number of images. Defaults to 4.
    """
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    rows, columns = np.mgrid[:SIZE, : SIZE + 16]
    for number in range(images):
        labels = ((rows - 30) ** 2 + (columns - 20 - number) ** 2 < 200).astype(np.uint8)
        pixels = np.where(labels[..., None] == 1, (180, 30, 90), (230, 230, 230)).astype(np.uint8)
        Image.fromarray(pixels).save(root / "images" / f"{number}.png")
        path = root / "masks" / f"{number}.png"
        if save is None:
            Image.fromarray(labels).save(path)
        else:
            save(labels, path)


def map_dataset(
    root: Path,
    classes: Sequence[str] = ("background", "blob"),
    loader: dict | None = None,
    **settings: Any,
) -> Any:
    """Build the dataset of :func:`write_maps`.

    Args:
        root (Path): Folder of the images and maps.
        classes (Sequence[str]): Classes of the dataset.
        loader (dict, optional): Transform that loads the label maps. Defaults to None, which uses
            mmseg's.
        **settings: Further arguments of the dataset.

    Returns:
        BaseSegDataset: The dataset, checked as in a run.
    """
    from mmseg.datasets import BaseSegDataset

    from smallvit.datasets.label_map_checks import check_maps_of

    pipeline = [
        dict(type="mmseg.LoadImageFromFile"),
        loader or dict(type="mmseg.LoadAnnotations"),
        dict(type="mmseg.PackSegInputs"),
    ]
    arguments = dict(
        data_root=str(root),
        data_prefix=dict(img_path="images", seg_map_path="masks"),
        img_suffix=".png",
        metainfo=dict(classes=classes),
        pipeline=pipeline,
    )
    dataset = BaseSegDataset(**{**arguments, **settings})
    check_maps_of(dataset)
    return dataset
