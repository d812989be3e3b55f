"""Predict the metric names of an evaluator, and find hooks that refer to missing ones."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from smallvit.utils.text import join_names

#: Metrics of mmdet's CocoMetric for boxes and masks, and for proposals.
PRECISIONS = ("mAP", "mAP_50", "mAP_75", "mAP_s", "mAP_m", "mAP_l")
RECALLS = ("AR@100", "AR@300", "AR@1000", "AR_s@1000", "AR_m@1000", "AR_l@1000")
#: Metrics of mmseg's IoUMetric for each of its settings.
OF_LABEL_MAPS = {
    "mIoU": ("mIoU", "mAcc"),
    "mDice": ("mDice", "mAcc"),
    "mFscore": ("mFscore", "mPrecision", "mRecall"),
}


def absent_metrics(evaluator: Any, hooks: Sequence[Any]) -> Iterator[str]:
    """Find metrics that a hook refers to and the evaluator does not provide.

    Args:
        evaluator (Evaluator, optional): Evaluator of the validation.
        hooks (Sequence[Hook]): The hooks of a run: those that save the best checkpoint
            (``save_best``), and those that stop early (``monitor``).

    Yields:
        str: A message that lists the available metrics.
    """
    given: list[str] = []
    for metric in getattr(evaluator, "metrics", ()):
        names = metric_names(metric)
        if names is None:
            return  # the names of other metrics are known only after evaluation
        given += [f"{metric.prefix}/{name}" if metric.prefix else name for name in names]
    for hook in hooks if given else ():
        for key, name in wanted_metrics(hook):
            if name != "auto" and name not in given:
                yield (
                    f"{key}={name!r} of {type(hook).__name__} is not a metric of val_evaluator, "
                    f"which reports {join_names(given)}"
                )


def wanted_metrics(hook: Any) -> Iterator[tuple[str, str]]:
    """Find the metrics that a hook compares.

    Args:
        hook (Hook): A checkpoint or early-stopping hook.

    Yields:
        tuple[str, str]: The setting, ``save_best`` or ``monitor``, and the metric in it.
    """
    for key, value in (
        ("save_best", getattr(hook, "key_indicators", None) or getattr(hook, "save_best", None)),
        ("monitor", getattr(hook, "monitor", None)),
    ):
        for name in [value] if isinstance(value, str) else value or ():
            if isinstance(name, str):
                yield key, name


def metric_names(metric: Any) -> list[str] | None:
    """Predict the names of a metric's results.

    Args:
        metric (BaseMetric): The metric, as configured.

    Returns:
        list[str] | None: Names without the prefix; None if its settings do not determine them.
    """
    kinds = {
        f"{kind.__module__.partition('.')[0]}.{kind.__name__}" for kind in type(metric).__mro__
    }
    if "mmpretrain.Accuracy" in kinds:
        return [f"top{k}" for k in metric.topk] if metric.thrs == (0.0,) else None
    if "smallvit.ClassRecall" in kinds:
        classes = (metric.dataset_meta or {}).get("classes") or ()
        return ["balanced_accuracy", *classes]
    if "mmdet.CocoMetric" in kinds:
        return _of_boxes(metric)
    if "mmseg.IoUMetric" in kinds:
        known = [OF_LABEL_MAPS.get(one) for one in metric.metrics]
        if None in known or metric.format_only:
            return None
        return list(dict.fromkeys(["aAcc", *(name for names in known for name in names)]))
    return None


def _of_boxes(metric: Any) -> list[str] | None:
    if metric.format_only:
        return None
    found: list[str] = []
    for one in metric.metrics:
        if one == "proposal_fast":
            found += [f"AR@{number}" for number in metric.proposal_nums]
        elif one == "proposal":
            found += metric.metric_items or RECALLS
        else:
            found += [f"{one}_{item}" for item in metric.metric_items or PRECISIONS]
    classes = (metric.dataset_meta or {}).get("classes") or ()
    if metric.classwise:
        if not classes:
            return None
        found += [f"{name}_precision" for name in classes]
    return found
