"""Description of the data set on which the plan of a bench is based."""

from __future__ import annotations

import os.path as osp
import statistics
from collections import Counter
from collections.abc import Callable
from typing import Any

from mmengine.registry import DATASETS, init_default_scope

from smallvit.bench.dense import describe_dense
from smallvit.bench.recipe import DIGITS, SPLITS
from smallvit.datasets.formats.table import is_table, read_table
from smallvit.engine.run_record import fingerprint


def look(data: str, prepared: str, report: Callable) -> dict[str, Any]:
    """Describe the user's data set for any task.

    Args:
        data (str): ``digits``, a folder, or a COCO annotation file.
        prepared (str): Folder for converted annotations and generated splits.
        report (Callable): Unused.

    Returns:
        dict: Description as of :func:`describe`, with ``task`` unless it is classification.
    """
    classes = data == DIGITS or is_table(data)
    dense = None if classes else describe_dense(data, prepared, report)
    return describe(data, report) if dense is None else dense


def describe(data: str, report: Callable) -> dict[str, Any]:
    """Describe the user's classification data set.

    Args:
        data (str): ``digits``, a folder or a table of labels.
        report (Callable): Unused.

    Returns:
        dict: ``classes``, ``counts`` (images of each class, by split), ``fingerprints``,
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
    return dict(classes=classes, counts=counts, fingerprints=prints, **said)


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
    from PIL import Image

    sides = []
    for index in range(0, len(dataset), max(1, len(dataset) // looked_at)):
        with Image.open(dataset.get_data_info(index)["img_path"]) as image:
            sides.append(min(image.size))
    side = statistics.median(sides)
    return 32 if side <= 40 else 64 if side <= 80 else 224
