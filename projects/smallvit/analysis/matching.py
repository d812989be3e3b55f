"""Matching of predicted and ground-truth objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from smallvit.analysis.annotations import Annotations


def overlaps(found: Annotations, truth: Annotations, masks: bool = False) -> np.ndarray:
    """Compute the overlap of each predicted object with each ground-truth object.

    Args:
        found (Annotations): N predicted objects.
        truth (Annotations): M ground-truth objects.
        masks (bool): Whether to compare masks instead of boxes. Defaults to False.

    Returns:
        np.ndarray: Intersection over union (N, M).
    """
    from pycocotools import mask as coco_mask

    if not len(found.labels) or not len(truth.labels):
        return np.zeros((len(found.labels), len(truth.labels)))
    one, other = (_encoded(each) if masks else _corner_and_size(each) for each in (found, truth))
    return np.asarray(coco_mask.iou(one, other, [False] * len(truth.labels)))


def _encoded(objects: Annotations) -> list[dict]:
    from pycocotools import mask as coco_mask

    stacked = np.asfortranarray(objects.masks.transpose(1, 2, 0).astype(np.uint8))
    return coco_mask.encode(stacked)


def _corner_and_size(objects: Annotations) -> np.ndarray:
    boxes = np.asarray(objects.boxes, dtype=np.float64)
    return np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)


@dataclass
class Matches:
    """Assignment of predicted objects to ground-truth objects.

    Args:
        truth_of (list[int | None]): Index of the matched ground-truth object of each predicted one.
        missed (list[int]): Indices of unmatched ground-truth objects.
    """

    truth_of: list[int | None]
    missed: list[int]


def match(iou: np.ndarray, scores: np.ndarray, allowed: np.ndarray, threshold: float) -> Matches:
    """Match objects by overlap, in descending order of score.

    Args:
        iou (np.ndarray): Intersection over union (N, M).
        scores (np.ndarray): Scores (N,).
        allowed (np.ndarray): Pairs that may be matched (N, M), such as those of the same class.
        threshold (float): Minimum IoU.

    Returns:
        Matches: Assignment in which each ground-truth object is used at most once.
    """
    truth_of: list[int | None] = [None] * len(scores)
    free = np.ones(iou.shape[1], dtype=bool)
    for number in np.argsort(-np.asarray(scores), kind="stable"):
        candidates = np.where(free & allowed[number], iou[number], -1.0)
        best = int(candidates.argmax()) if candidates.size else -1
        if best >= 0 and candidates[best] >= threshold:
            truth_of[number], free[best] = best, False
    return Matches(truth_of, np.flatnonzero(free).tolist())


def same_class(found: Annotations, truth: Annotations) -> np.ndarray:
    """Determine which pairs have the same class.

    Args:
        found (Annotations): N objects.
        truth (Annotations): M objects.

    Returns:
        np.ndarray: Whether the two objects have the same class (N, M).
    """
    one, other = np.asarray(found.labels, dtype=int), np.asarray(truth.labels, dtype=int)
    return one[:, None] == other[None, :]
