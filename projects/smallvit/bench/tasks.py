"""What the images of a bench ask for, and by which number methods are compared there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from smallvit.bench.methods import DENSE_ONLY, Method
from smallvit.errors import UserError

CLASSIFICATION, DETECTION, SEGMENTATION = "classification", "detection", "segmentation"


@dataclass(frozen=True)
class Task:
    """A kind of question.

    Args:
        metric (str): The number that an evaluator gives.
        scale (float): What makes percent of it.
        title (str): What people call it.
        ending (str): Of the names of the configs that have the mini networks.
        batch (int): Images in a training step, unless the user says otherwise.
        other (str): The number in place of the metric where images may have several labels.
            Defaults to "".
    """

    metric: str
    scale: float
    title: str
    ending: str
    batch: int
    other: str = ""

    def percent(self, metrics: Mapping[str, Any]) -> float:
        """Take the number out of what an evaluator gives.

        Args:
            metrics (Mapping[str, Any]): Its numbers.

        Returns:
            float: In percent; 0 where COCO's evaluation says -1, that there is nothing to find.
        """
        found = metrics.get(self.metric, metrics.get(self.other, 0.0))
        return max(0.0, self.scale * float(found))


TASKS = {
    CLASSIFICATION: Task("accuracy/top1", 1.0, "accuracy", "", 64, "multi-label/mAP"),
    DETECTION: Task("coco/bbox_mAP", 100.0, "box AP (COCO, IoU 0.50 to 0.95)", "_digits-det", 8),
    SEGMENTATION: Task("mIoU", 1.0, "mean IoU of the classes", "_digits-seg", 8),
}
#: Networks with a mini form in detectors and segmentors, and what can be added to each.
DENSE = {"vit": ("shortcut",), "swin": ("shortcut",), "dhvt": (), "dwnet": (), "cvt": ()}
DENSE_METHODS = ["vit", "vit+shortcut", "swin", "swin+shortcut", "dhvt", "dwnet"]


def check_method(method: Method, task: str) -> None:
    """Refuse a method that has no network for a task.

    Args:
        method (Method): Parsed method.
        task (str): The task.

    Raises:
        UserError: If it has none; says which have.
    """
    if task == CLASSIFICATION:
        if method.base in DENSE_ONLY:
            raise UserError(
                f"--methods {method.name}: {method.base} is for boxes and label maps, and these "
                "images have classes"
            )
        return
    if method.base not in DENSE or set(method.additions) - set(DENSE[method.base]):
        known = [base + "".join(f" (+{each})" for each in can) for base, can in DENSE.items()]
        raise UserError(f"--methods {method.name}: for {task} there are {', '.join(known)}")


def config_name(method: Method, task: str) -> str:
    """Name the config whose network is a method's.

    Args:
        method (Method): Parsed method.
        task (str): Detection or segmentation.

    Returns:
        str: Such as ``vit-mini_shortcut_digits-det``.
    """
    shortcut = "_shortcut" if "shortcut" in method.additions else ""
    return f"{method.base}-mini{shortcut}{TASKS[task].ending}"
