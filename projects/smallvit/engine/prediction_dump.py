"""Write the predictions of a test to a file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from torch import nn
from torch.utils.data import Dataset

from smallvit.engine.predictions import (
    CLASSIFICATION,
    DETECTION,
    SEGMENTATION,
    SUFFIXES,
    category_ids,
    labels_of,
    plain_scores,
    write_classes,
    write_instances,
    write_label_maps,
)
from smallvit.errors import UserError

#: Fields that identify the task in samples of MMPretrain, MMDetection and MMSegmentation.
TASK_KEYS = {
    "pred_sem_seg": SEGMENTATION,
    "pred_instances": DETECTION,
    "pred_label": CLASSIFICATION,
}

#: The libraries' base classes.
MODELS = (
    ("ImageClassifier", "mmpretrain", CLASSIFICATION),
    ("BaseDetector", "mmdet", DETECTION),
    ("BaseSegmentor", "mmseg", SEGMENTATION),
)


def task_of(model: nn.Module) -> str:
    """Determine the task of a model.

    Args:
        model (nn.Module): A model of MMPretrain, MMDetection or MMSegmentation.

    Returns:
        str: "classification", "detection" or "segmentation".

    Raises:
        UserError: If it predicts something else.
    """
    bases = {base.__name__: base.__module__.partition(".")[0] for base in type(model).__mro__}
    for name, library, task in MODELS:
        if bases.get(name) == library:
            return task
    raise UserError(
        f"{type(model).__name__} predicts neither image classes nor objects nor label maps"
    )


class DumpPredictions(BaseMetric):
    """Write the predictions of a test to a JSON or npz file.

    The formats are described in :mod:`smallvit.engine.predictions`.

    Args:
        path (str): A .json file for classes and instances, .npz for label maps.
        dataset (Dataset): Test dataset, which provides the category ids.
        collect_device (str): Device for gathering results of several processes. Defaults to "cpu".

    Raises:
        UserError: At the first batch, if the file type does not match the task.
    """

    def __init__(self, path: str, dataset: Dataset, collect_device: str = "cpu") -> None:
        super().__init__(collect_device=collect_device)
        self.path, self.dataset, self.task = path, dataset, None

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Collect the predictions of a batch.

        Args:
            data_batch (Any): Not used.
            data_samples (Sequence[dict]): Predictions of the batch, one per image.
        """
        for sample in data_samples:
            self.task = self.task or self._task_of(sample)
            self.results.append(_KEEP[self.task](sample))

    def _task_of(self, sample: dict) -> str:
        task = next((task for key, task in TASK_KEYS.items() if key in sample), None)
        if task is None or "pred_panoptic_seg" in sample:
            raise UserError(
                f"predictions with the keys {', '.join(sorted(sample))} cannot be written as data. "
                "Write a pickle with --out FILE.pkl"
            )
        if not self.path.endswith(SUFFIXES[task]):
            raise UserError(
                f"--out {self.path}: expected a {SUFFIXES[task]} file for predictions of the task "
                f"{task}"
            )
        return task

    def compute_metrics(self, results: list) -> dict:
        """Write the predictions to the file.

        Args:
            results (list): Predictions of all processes, in the order of the dataset.

        Returns:
            dict: No metrics.
        """
        os.makedirs(os.path.dirname(os.path.abspath(self.path)), exist_ok=True)
        classes = self.dataset.metainfo.get("classes")
        if self.task == CLASSIFICATION:
            write_classes(self.path, results, classes)
        elif self.task == SEGMENTATION:
            write_label_maps(self.path, results, classes)
        else:
            categories = category_ids(self.dataset)
            write_instances(
                self.path, [each for image in results for each in _coco_results(image, categories)]
            )
        return {}


def _of_classes(sample: dict) -> dict[str, Any]:
    kept = {"img_path": sample["img_path"]} if sample.get("img_path") else {}
    for key in [key for key in ("gt_label", "pred_label") if key in sample]:
        labels = labels_of(sample[key])
        kept[key] = labels[0] if len(labels) == 1 else labels
    if "exit_index" in sample:
        kept["exit_index"] = int(sample["exit_index"])
    return {**kept, "pred_score": plain_scores(sample["pred_score"].detach().cpu())}


def _of_instances(sample: dict) -> dict[str, Any]:
    found = sample["pred_instances"]
    kept = {key: found[key].detach().cpu().numpy() for key in ("bboxes", "scores", "labels")}
    if found.get("masks") is not None:
        kept["masks"] = [rle(mask) for mask in found["masks"]]
    return {"image_id": sample["img_id"], **kept}


def rle(mask: Any) -> dict[str, Any]:
    """Encode a mask as COCO RLE.

    Args:
        mask (Any): An array or tensor (H, W), or run lengths.

    Returns:
        dict: ``size``, and the run lengths ``counts`` as a string.
    """
    from pycocotools import mask as coco_mask

    if not isinstance(mask, dict):
        mask = mask.detach().cpu().numpy() if hasattr(mask, "detach") else np.asarray(mask)
        mask = coco_mask.encode(np.asfortranarray(mask, dtype=np.uint8))
    counts = mask["counts"]
    counts = counts.decode() if isinstance(counts, bytes) else counts
    return {"size": [int(side) for side in mask["size"]], "counts": counts}


def _of_label_map(sample: dict) -> tuple[dict, np.ndarray]:
    labels = sample["pred_sem_seg"]["data"].detach().cpu().numpy()
    labels = labels.reshape(labels.shape[-2:])
    fitting = np.uint8 if labels.max(initial=0) < 1 << 8 else np.uint16
    return {"img_path": sample.get("img_path")}, labels.astype(fitting)


def _coco_results(image: dict, categories: Sequence[int]) -> Iterator[dict]:
    for number, (x1, y1, x2, y2) in enumerate(image["bboxes"].astype(np.float64).tolist()):
        result = {
            "image_id": image["image_id"],
            "category_id": categories[int(image["labels"][number])],
            "bbox": plain_scores([x1, y1, x2 - x1, y2 - y1]),
            "score": plain_scores(image["scores"][number])[0],
        }
        if "masks" in image:
            result["segmentation"] = image["masks"][number]
        yield result


_KEEP = {CLASSIFICATION: _of_classes, DETECTION: _of_instances, SEGMENTATION: _of_label_map}
