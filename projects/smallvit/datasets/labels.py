"""Label statistics and validation for classification datasets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from numbers import Integral
from typing import Any

from smallvit.errors import LabelError


def read_labels(dataset: Any) -> list[tuple[int, ...]] | None:
    """Read the labels of a classification dataset.

    Args:
        dataset (Dataset): A dataset that is no wrapper of others.

    Returns:
        list[tuple[int, ...]] | None: The labels of each sample, several where it is one of
        several labels; None where the dataset does not tell them.
    """
    if not hasattr(dataset, "get_data_info") or not hasattr(dataset, "__len__"):
        return None
    found = []
    for index in range(len(dataset)):
        label = dataset.get_data_info(index).get("gt_label")
        if isinstance(label, Integral):
            found.append((int(label),))
        elif _is_list(label):
            found.append(tuple(int(one) for one in label))
        else:
            return None
    return found


def _is_list(label: Any) -> bool:
    several = hasattr(label, "__iter__") and not isinstance(label, str)
    return several and all(isinstance(one, Integral) for one in label)


def count_labels(labels: Sequence[tuple[int, ...]], classes: Sequence[str] | None) -> dict:
    """Count the samples of each class.

    Args:
        labels (Sequence[tuple[int, ...]]): Labels of each sample.
        classes (Sequence[str], optional): Names of the classes. Defaults to None: the labels
            that occur.

    Returns:
        dict[str, int]: Samples by the name of the class, in the order of the labels.
    """
    counts = Counter(label for several in labels for label in several)
    names = dict(enumerate(classes or ()))
    return {str(names.get(label, label)): counts[label] for label in sorted({*names, *counts})}


def label_fault(dataset: Any, labels: Sequence[tuple[int, ...]], count: int) -> str | None:
    """Report labels outside the classes of the model's head.

    In training such a label ends in an error that names no file, on a GPU in one of the
    device; in a test it counts as a wrong answer.

    Args:
        dataset (Dataset): The dataset.
        labels (Sequence[tuple[int, ...]]): Labels of each sample.
        count (int): Classes of the model.

    Returns:
        str | None: A sentence with the file, the image and the way out; None where all are
        inside.
    """
    wrong = [
        (index, label)
        for index, several in enumerate(labels)
        for label in several
        if not 0 <= label < count
    ]
    if not wrong:
        return None
    index, label = wrong[0]
    where = getattr(dataset, "ann_file", "") or getattr(dataset, "data_root", "")
    name = dataset.get_data_info(index).get("img_path") or f"sample {index}"
    more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
    return (
        f"{where or type(dataset).__name__}: label {label} of {name}{more} is outside of "
        f"the model's {count} classes, 0 to {count - 1}. Correct it, or set "
        "model.head.num_classes and data_preprocessor.num_classes to the number of classes"
    )


def check_labels(dataset: Any, model: Any) -> None:
    """Refuse a classification dataset with a label outside the classes of the model's head.

    Args:
        dataset (Dataset): A dataset of a run, or a wrapper of some. One that does not tell
            ``gt_label`` is passed over.
        model (nn.Module): The model; one without ``head.num_classes`` is passed over.

    Raises:
        LabelError: If there is such a label; it names the annotation file and the image.
    """
    from smallvit.datasets.parts import parts_of

    count = getattr(getattr(getattr(model, "module", model), "head", None), "num_classes", None)
    if not isinstance(count, int) or count < 1:
        return
    for part in parts_of(dataset):
        labels = read_labels(part)
        fault = label_fault(part, labels, count) if labels else None
        if fault is not None:
            raise LabelError(fault)
