"""Ground-truth annotations of images, before or after the data pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from smallvit.datasets.io.images import read_image
from smallvit.engine.predictions import labels_of

#: Label map value of pixels without a class.
IGNORED = 255


@dataclass
class Annotations:
    """Ground-truth or predicted annotations of an image.

    Args:
        labels (Sequence[int], optional): Class indices of the image, or of its objects.
        boxes (np.ndarray, optional): Boxes (N, 4) of the objects, x1, y1, x2, y2.
        masks (np.ndarray, optional): Masks (N, H, W) of the objects, bool.
        scores (Sequence[float], optional): Scores of the classes or objects.
        label_map (np.ndarray, optional): Class index of each pixel, (H, W).
    """

    labels: Sequence[int] | None = None
    boxes: np.ndarray | None = None
    masks: np.ndarray | None = None
    scores: Sequence[float] | None = None
    label_map: np.ndarray | None = None

    @property
    def is_empty(self) -> bool:
        """bool: Whether there are no annotations."""
        return self.labels is None and self.label_map is None

    def above(self, score: float) -> Annotations:
        """Remove objects below a score threshold.

        Args:
            score (float): Minimum score.

        Returns:
            Annotations: Objects with at least this score.
        """
        if self.boxes is None or self.scores is None:
            return self
        keep = np.flatnonzero(np.asarray(self.scores) >= score)
        return replace(
            self,
            labels=[self.labels[i] for i in keep],
            scores=[self.scores[i] for i in keep],
            boxes=self.boxes[keep],
            masks=None if self.masks is None else self.masks[keep],
        )


def innermost(dataset: Any) -> Any:
    """Find the innermost dataset, whose pipeline reads the images.

    Args:
        dataset (BaseDataset): Dataset, or a wrapper such as ``RepeatDataset``.

    Returns:
        BaseDataset: Innermost dataset; the first if a wrapper combines several.
    """
    while not hasattr(dataset, "pipeline"):
        inner = getattr(dataset, "dataset", None)
        dataset = inner if inner is not None else dataset.datasets[0]
    return dataset


def is_reader(step: Any) -> bool:
    """Check whether a pipeline step reads a file.

    Args:
        step (BaseTransform): Transform of a pipeline.

    Returns:
        bool: Whether it is a ``Load`` transform, or a subclass of one.
    """
    return any(cls.__name__.startswith("Load") for cls in type(step).__mro__)


def read_sample(dataset: Any, index: int) -> tuple[np.ndarray, Annotations]:
    """Read an image and its ground truth at the size of the image file.

    Args:
        dataset (BaseDataset): Dataset, of whose pipeline only the loading steps are applied.
        index (int): Index of the image.

    Returns:
        tuple[np.ndarray, Annotations]: Image (H, W, C) as stored, BGR, and its annotations.
    """
    results = dataset.get_data_info(index)
    steps = innermost(dataset).pipeline.transforms
    for step in steps:
        if is_reader(step):
            results = step(results)
    if "img" not in results:
        results["img"] = read_image(results["img_path"])
    return results["img"], annotations_of(results)


def annotations_of(results: dict[str, Any]) -> Annotations:
    """Extract the ground truth from the results of pipeline steps.

    Args:
        results (dict): Results of a pipeline step, with ``img``.

    Returns:
        Annotations: The ground truth.
    """
    if results.get("gt_seg_map") is not None:
        return Annotations(label_map=np.asarray(results["gt_seg_map"]))
    if results.get("gt_bboxes") is not None:
        return _objects(results["gt_bboxes"], results["gt_bboxes_labels"], results.get("gt_masks"))
    if results.get("gt_label") is not None:
        return Annotations(labels=labels_of(results["gt_label"]))
    return Annotations()


def annotations_of_sample(sample: Any) -> Annotations:
    """Extract the ground truth from a data sample of an MM library.

    Args:
        sample (DataSample | DetDataSample | SegDataSample): Ground truth of one image.

    Returns:
        Annotations: The ground truth.
    """
    if getattr(sample, "gt_sem_seg", None) is not None:
        return Annotations(label_map=sample.gt_sem_seg.data.squeeze(0).numpy())
    if getattr(sample, "gt_instances", None) is not None:
        found = sample.gt_instances
        return _objects(found.bboxes, found.labels, found.get("masks"))
    score = getattr(sample, "gt_score", None)
    if score is not None and getattr(sample, "gt_label", None) is None:
        return Annotations(labels=np.flatnonzero(score.numpy() > 0).tolist())
    if getattr(sample, "gt_label", None) is not None:
        return Annotations(labels=sample.gt_label.tolist())
    return Annotations()


def _objects(boxes: Any, labels: Any, masks: Any) -> Annotations:
    """Convert mmdet's data structures to annotations."""
    boxes = getattr(boxes, "tensor", boxes)
    masks = masks.to_ndarray().astype(bool) if masks is not None else None
    return Annotations(
        labels=np.asarray(labels).tolist(),
        boxes=np.asarray(boxes, dtype=np.float64).reshape(-1, 4),
        masks=masks,
    )
