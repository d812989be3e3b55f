"""Description of the dataset on which the plan of a bench is based."""

from __future__ import annotations

import os.path as osp
import statistics
from collections import Counter
from collections.abc import Callable
from typing import Any

from mmengine.registry import DATASETS, init_default_scope

from smallvit.bench.dense import describe_dense
from smallvit.bench.recipe import DIGITS, SPLITS
from smallvit.bench.tasks import SEGMENTATION
from smallvit.datasets.formats.folders import size_of_image
from smallvit.datasets.formats.table import is_table, read_table
from smallvit.datasets.recognition.folders import count_class_folders
from smallvit.errors import DataError, UserError
from smallvit.utils.data_fingerprint import fingerprint


def look(data: str, prepared: str, void: int | None, report: Callable) -> dict[str, Any]:
    """Describe the user's dataset for any task.

    Args:
        data (str): ``digits``, a folder, or a COCO annotation file.
        prepared (str): Folder for converted annotations and generated splits.
        void (int | None): Pixel value of label maps to ignore.
        report (Callable): Unused.

    Returns:
        dict: Description as of :func:`describe`, with ``task`` and ``notes`` (messages for the
        user) unless it is classification.

    Raises:
        UserError: If a pixel value is given for data without label maps, or the data cannot be
            used.
    """
    if data != DIGITS:
        _refuse_bands(data)
    classes = data == DIGITS or is_table(data)
    dense = None if classes else describe_dense(data, prepared, void, report)
    if void is not None and (dense is None or dense["task"] != SEGMENTATION):
        raise UserError(f"--void-id {void} requires label maps, and {data} contains none")
    return describe(data, report) if dense is None else dense


def _refuse_bands(data: str) -> None:
    """Refuse arrays of bands, for which the recipes, teachers and pretrainings here are not."""
    if is_table(data):
        arrays = any(row.name.lower().endswith(".npy") for row in read_table(data).rows)
    else:
        arrays = count_class_folders(data, (".npy",)) > 0 and not count_class_folders(data)
    if arrays:
        raise UserError(
            f"--data {data}: arrays of bands (.npy), and the recipes, teachers and pretraining of "
            "the bench use three channels; train single networks with smallvit train MODEL --data "
            "PATH --channels N"
        )


def describe(data: str, report: Callable) -> dict[str, Any]:
    """Describe the user's classification dataset.

    Args:
        data (str): ``digits``, a folder or a table of labels.
        report (Callable): Unused.

    Returns:
        dict: ``classes``, ``counts`` (images of each class, by split), ``images`` (number of
        images by split, fewer than labels in a multi-label dataset), ``fingerprints``,
        ``tested_on`` and ``selected_on`` (descriptions of the test images and of the images on
        which the best checkpoint is selected), ``same_images`` (whether they are the same),
        ``image_size`` (a suitable size), and for a table ``several`` (whether images may have
        several labels).
    """
    init_default_scope("mmpretrain")
    kind = dict(type="smallvit.Digits")
    if is_table(data):
        kind = dict(type="smallvit.LabelTable", ann_file=osp.abspath(data))
    elif data != DIGITS:
        kind = dict(type="smallvit.ClassFolders", data_root=osp.abspath(data))
    parts = {split: DATASETS.build(dict(kind, split=split)) for split in SPLITS}
    classes = list(parts["train"].metainfo["classes"])
    counts = {}
    for split, part in parts.items():
        found = Counter(label for i in range(len(part)) for label in part.get_cat_ids(i))
        counts[split] = [found[label] for label in range(len(classes))]
    said = dict(selected_on="split val", tested_on="split test", same_images=False, image_size=32)
    if is_table(data):
        said |= _table_facts(data, parts["train"])
    elif data != DIGITS:
        said |= _folder_facts(data, parts["train"])
    prints = {split: fingerprint(part) for split, part in parts.items()}
    images = {split: len(part) for split, part in parts.items()}
    return dict(classes=classes, counts=counts, images=images, fingerprints=prints, **said)


def _table_facts(data: str, train: Any) -> dict[str, Any]:
    table = read_table(data)
    given = {row.split for row in table.rows}
    selected = "split val" if "val" in given else "one image in five, held out of training"
    return {
        "selected_on": selected,
        "tested_on": "split test" if "test" in given else selected,
        "same_images": "test" not in given,
        "image_size": _fitting_size(train),
        "several": table.several,
    }


def _folder_facts(data: str, train: Any) -> dict[str, Any]:
    from smallvit.datasets.class_folders import split_folders

    given = split_folders(osp.abspath(data))
    selected = "val/" if "val" in given else "one image in five of each class, held out of training"
    return {
        "selected_on": selected,
        "tested_on": "test/" if "test" in given else selected,
        "same_images": "test" not in given,
        "image_size": _fitting_size(train),
    }


def _fitting_size(dataset: Any, looked_at: int = 50) -> int:
    places = range(0, len(dataset), max(1, len(dataset) // looked_at))
    paths = [dataset.get_data_info(index)["img_path"] for index in places]
    sizes = [size for size in map(size_of_image, paths) if not isinstance(size, str)]
    if not sizes:
        raise DataError(
            f"none of the {len(paths)} images looked at can be read, such as {paths[0]}; the "
            "bench supports photographs, not multispectral images"
        )
    sides = [min(size) for size in sizes]
    side = statistics.median(sides)
    return 32 if side <= 40 else 64 if side <= 80 else 224
