"""Tasks of a bench and the metrics by which methods are compared."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smallvit.bench.methods import DENSE_ONLY, Method
from smallvit.errors import UserError

CLASSIFICATION, DETECTION, SEGMENTATION = "classification", "detection", "segmentation"


#: Minimum number of steps between validations, so that they do not dominate the time.
STEPS_BETWEEN = 20


@dataclass(frozen=True)
class Task:
    """Task of a dataset.

    Args:
        metric (str): Key of the metric in the results of the evaluator.
        scale (float): Factor that converts it to percent.
        title (str): Display name of the metric.
        short (str): Its abbreviation.
        ending (str): Suffix of the config names of the mini networks.
        batch (int): Default training batch size.
        counted (str): What is counted for each class of a dataset.
        other (str): Key of the metric if images may have several labels.
            Defaults to "".
        between (int): Minimum number of steps between validations. Defaults to 20.
    """

    metric: str
    scale: float
    title: str
    short: str
    ending: str
    batch: int
    counted: str
    other: str = ""
    between: int = STEPS_BETWEEN

    def percent(self, metrics: Mapping[str, Any]) -> float:
        """Get the metric in percent from the results of an evaluator.

        Args:
            metrics (Mapping[str, Any]): Results of the evaluator.

        Returns:
            float: Metric in percent; 0 if COCO's evaluation returns -1 because there are no
            objects.
        """
        found = metrics.get(self.metric, metrics.get(self.other, 0.0))
        return max(0.0, self.scale * float(found))


TASKS = {
    CLASSIFICATION: Task(
        *("accuracy/top1", 1.0, "accuracy", "accuracy", "", 64, "images"), other="multi-label/mAP"
    ),
    DETECTION: Task(
        *("coco/bbox_mAP", 100.0, "box AP (COCO, IoU 0.50 to 0.95)", "box AP", "_digits-det", 8),
        counted="objects",
        between=150,  # COCO's evaluation of images with many objects takes as long as 100 steps
    ),
    SEGMENTATION: Task(
        *("mIoU", 1.0, "mean IoU over the classes", "mIoU", "_digits-seg", 8, "label maps")
    ),
}


def metric_name(task: str, several: bool) -> str:
    """Get the abbreviation of the metric by which methods are compared.

    Args:
        task (str): Task of the dataset.
        several (bool): Whether images may have several labels.

    Returns:
        str: Name such as ``accuracy``, ``mAP`` or ``box AP``.
    """
    return "mAP" if several else TASKS[task].short


#: Networks with a mini form in detectors and segmentors, and what can be added to each.
DENSE = {"vit": ("shortcut",), "swin": ("shortcut",), "dhvt": (), "dwnet": (), "cvt": ()}
DENSE_METHODS = ["vit", "vit+shortcut", "swin", "swin+shortcut", "dhvt", "dwnet"]


def check_method(method: Method, task: str) -> None:
    """Check that a method has a network for a task.

    Args:
        method (Method): Parsed method.
        task (str): Task of the dataset.

    Raises:
        UserError: If it has none; the message lists those that have one.
    """
    if task == CLASSIFICATION:
        if method.base in DENSE_ONLY:
            raise UserError(
                f"--methods {method.name}: {method.base} requires boxes or label maps, "
                "but these images have classes"
            )
        return
    if method.base not in DENSE or set(method.additions) - set(DENSE[method.base]):
        known = [base + "".join(f" (+{each})" for each in can) for base, can in DENSE.items()]
        raise UserError(f"--methods {method.name}: for {task} there are {', '.join(known)}")


def config_name(method: Method, task: str) -> str:
    """Get the name of the config of a method's network.

    Args:
        method (Method): Parsed method.
        task (str): "detection" or "segmentation".

    Returns:
        str: Name such as ``vit-mini_shortcut_digits-det``.
    """
    shortcut = "_shortcut" if "shortcut" in method.additions else ""
    return f"{method.base}-mini{shortcut}{TASKS[task].ending}"
