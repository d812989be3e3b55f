"""Checking that the labels of a data set are classes of the model, before training on them."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any

from torch import nn

from smallvit.errors import LabelError


def check_labels(dataset: Any, model: nn.Module) -> None:
    """Refuse a classification data set with a label outside the classes of the model's head.

    In training such a label ends in an error that names no file, on a GPU in one of the
    device; in a test it counts as a wrong answer.

    Args:
        dataset (Dataset): A data set of a run, or a wrapper of some. One that does not tell
            ``gt_label`` is passed over.
        model (nn.Module): The model; one without ``head.num_classes`` is passed over.

    Raises:
        LabelError: If there is such a label; it names the annotation file and the image.
    """
    model = getattr(model, "module", model)
    count = getattr(getattr(model, "head", None), "num_classes", None)
    if not isinstance(count, int) or count < 1:
        return
    for one in _innermost(dataset):
        wrong = [info for info in _labelled(one) if not 0 <= info["gt_label"] < count]
        if wrong:
            raise LabelError(_message(one, wrong, count))


def _innermost(dataset: Any) -> Iterator[Any]:
    inner = [getattr(dataset, "dataset", None), *(getattr(dataset, "datasets", None) or ())]
    inner = [one for one in inner if one is not None]
    if not inner:
        yield dataset
    for one in inner:
        yield from _innermost(one)


def _labelled(dataset: Any) -> Iterator[dict]:
    if not hasattr(dataset, "get_data_info") or not hasattr(dataset, "__len__"):
        return
    for index in range(len(dataset)):
        info = dataset.get_data_info(index)
        if not isinstance(info.get("gt_label"), Integral):
            return
        yield info


def _message(dataset: Any, wrong: list[dict], count: int) -> str:
    first = wrong[0]
    where = getattr(dataset, "ann_file", "") or getattr(dataset, "data_root", "")
    name = first.get("img_path") or f"sample {first.get('sample_idx')}"
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return (
        f"{where or type(dataset).__name__}: label {first['gt_label']} of {name}{more} is outside "
        f"the model's {count} classes, 0 to {count - 1}: correct it, or set "
        "model.head.num_classes and data_preprocessor.num_classes to the number of classes"
    )
