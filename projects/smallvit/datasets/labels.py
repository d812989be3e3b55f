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
        dataset (Dataset): A dataset that is not a wrapper.

    Returns:
        list[tuple[int, ...]] | None: The labels of each sample, or None if the dataset does not
        provide them.
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
        classes (Sequence[str], optional): Class names. Defaults to None: the labels that occur.

    Returns:
        dict[str, int]: Number of samples by class name, in the order of the labels.
    """
    counts = Counter(label for several in labels for label in several)
    names = dict(enumerate(classes or ()))
    return {str(names.get(label, label)): counts[label] for label in sorted({*names, *counts})}


def label_fault(dataset: Any, labels: Sequence[tuple[int, ...]], count: int) -> str | None:
    """Report labels outside the classes of the model's head.

    In training, such a label causes an error that names no file, on a GPU a device-side
    assertion; in testing, it counts as a misclassification.

    Args:
        dataset (Dataset): Dataset of a run, not a wrapper.
        labels (Sequence[tuple[int, ...]]): Labels of each sample.
        count (int): Number of classes of the model.

    Returns:
        str | None: An error message that names the file and the image, or None.
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
    """Check that the labels of a classification dataset are classes of the model's head.

    Args:
        dataset (Dataset): A dataset or a wrapper. Datasets without ``gt_label`` are skipped.
        model (nn.Module): The model, not checked if it has no ``head.num_classes``.

    Raises:
        LabelError: If a label is outside of the classes.
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
