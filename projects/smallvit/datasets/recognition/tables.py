"""Recognition of image classification datasets defined by a label table (CSV)."""

from __future__ import annotations

import os.path as osp
from collections import Counter
from collections.abc import Sequence

from smallvit.datasets.formats.table import Row, read_table
from smallvit.datasets.recognition.own_data import OwnData
from smallvit.datasets.recognition.splitting import (
    Fold,
    hold_out,
    say_set_aside,
    say_split,
    write_lists,
)
from smallvit.errors import DataError, UserError


def read_label_table(path: str, out: str, fold: Fold | None = None) -> OwnData:
    """Read an image classification dataset from a label table.

    Args:
        path (str): CSV or TSV file.
        out (str): Work folder to which the lists of a generated split are written.
        fold (Fold, optional): Cross-validation fold that is held out for validation. Defaults to
            None: no cross-validation.

    Returns:
        OwnData: Recognized dataset, with its classes, splits and dataset configs.

    Raises:
        DataError: If the table is invalid.
        UserError: If folds are requested for a multi-label table.
    """
    from smallvit.datasets.label_table import rows_of

    table = read_table(path)
    if fold is not None and table.several:
        raise UserError(
            f"--folds requires one label per image, but {path} has several. Add a column split to "
            "the table instead"
        )
    root = osp.dirname(path)
    form = "several labels per image" if table.several else "one label per image"
    data = OwnData("folder", f"label table, {form}", root, table.classes)
    data.table, data.several = path, table.several
    splits = rows_of(table, path)
    given = {row.split for row in table.rows}
    if fold is not None:
        labels = {row.name: row.labels for row in table.rows if row.split in ("", "train")}
        chosen = hold_out(labels, path, fold)
        rows = [row for row in table.rows if row.name in labels]
        splits["train"] = [row for row in rows if row.name not in chosen]
        if "val" in given:
            data.notes.append(say_set_aside(len(splits["val"])))
        elif "test" not in given:
            splits["test"] = [row for row in rows if row.name in chosen]
        splits["val"] = [row for row in rows if row.name in chosen]
    elif "val" not in given and not table.several:
        _check_class_sizes(path, [*splits["train"], *splits["val"]])
    for split, rows in splits.items():
        data.datasets[split] = {"type": "smallvit.LabelTable", "ann_file": path}
        if split != "test" or "test" in given or (fold is not None and "val" in given):
            data.images[split] = len(rows)
            count = Counter(label for row in rows for label in row.labels)
            data.counts[split] = Counter({name: count[name] for name in data.classes})
    data.sample = [osp.join(root, row.name) for row in splits["train"]]
    if fold is not None or "val" not in given:
        own = {split: [row.name for row in splits[split]] for split in ("train", "val")}
        data.lists = write_lists(out, own)
        for split, listed in data.lists.items():
            data.datasets[split]["listed"] = listed
        if "test" not in data.images:
            data.datasets["test"]["listed"] = data.lists["val"]
        data.notes.append(say_split(out, fold))
    return data


def _check_class_sizes(path: str, rows: Sequence[Row]) -> None:
    count = Counter(label for row in rows for label in row.labels)
    few = [name for name, number in count.items() if number < 2]
    if few:
        raise DataError(
            f"{path}: class {few[0]!r} has one image, so none can be held out for validation. Add "
            "images, or add a column split with train and val"
        )
