"""Images that a table names, with one label each or several."""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence
from typing import Any

from mmpretrain.datasets import MultiLabelDataset

from smallvit.datasets.class_folders import SPLITS
from smallvit.datasets.formats.table import Row, Table, read_table
from smallvit.datasets.recognition.splitting import hold_out
from smallvit.errors import DataError
from smallvit.registry import DATASETS


@DATASETS.register_module()
class LabelTable(MultiLabelDataset):
    """Images and labels of a CSV file, with one label an image or several.

    The file is what :func:`smallvit.datasets.formats.table.read_table` reads. Where it names no
    split ``val``, a fixed fifth of the training images of each class validates; where it names no
    ``test``, ``val`` tests.

    Args:
        ann_file (str): The table; files are looked for beside it.
        data_root (str): Folder that ``ann_file`` is relative to. Defaults to "".
        split (str): ``train``, ``val`` or ``test``. Defaults to ``'train'``.
        listed (str, optional): File that lists the images of the split, one a line; others are
            not read. Defaults to None.
        classes (Sequence[str], optional): The classes, in their order. Defaults to None: those of
            the table.
        pipeline (Sequence[dict | Callable]): Transforms. Defaults to an empty tuple.
        test_mode (bool): Whether a sample that fails raises an error instead of being replaced
            by another. Defaults to False.
        **kwargs: Other arguments of :class:`mmpretrain.datasets.MultiLabelDataset`.

    Raises:
        ValueError: If there is no such split.
        DataError: If the table is not as it must be, or has other classes.
    """

    def __init__(
        self,
        ann_file: str,
        data_root: str = "",
        split: str = "train",
        listed: str | None = None,
        classes: Sequence[str] | None = None,
        pipeline: Sequence = (),
        test_mode: bool = False,
        **kwargs: Any,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(f"LabelTable has no split {split!r}; choose one of {SPLITS}")
        self.split, self.listed = split, listed
        ann_file = osp.join(data_root, ann_file)
        self.table = read_table(ann_file)
        self.class_names = tuple(classes or self.table.classes)
        unknown = sorted(set(self.table.classes) - set(self.class_names))
        if unknown:
            raise DataError(f"{ann_file}: class {unknown[0]!r} is none of those that are trained")
        super().__init__(
            ann_file=osp.abspath(ann_file),
            metainfo={"classes": self.class_names},
            pipeline=pipeline,
            test_mode=test_mode,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """List the images of the split.

        Returns:
            list[dict]: ``img_path`` and ``gt_label`` of each sample: a list of labels where images
            may have several, else a number.
        """
        number = {name: label for label, name in enumerate(self.class_names)}
        folder = osp.dirname(self.ann_file)
        chosen = self._chosen()
        found = []
        for row in chosen:
            labels = sorted(number[name] for name in row.labels)
            label: Any = labels if self.table.several else labels[0]
            found.append({"img_path": osp.join(folder, row.name), "gt_label": label})
        return found

    def _chosen(self) -> list[Row]:
        if self.listed is None:
            return rows_of(self.table, self.ann_file)[self.split]
        with open(self.listed, encoding="utf-8") as file:
            names = [line.rstrip("\n") for line in file]
        rows = {row.name: row for row in self.table.rows}
        for place, name in enumerate(names, 1):
            if name not in rows:
                raise DataError(f"{self.listed}, line {place}: {name!r} is not in {self.ann_file}")
        return [rows[name] for name in names]

    def get_cat_ids(self, idx: int) -> list[int]:
        """Get the labels of a sample.

        Args:
            idx (int): Its number.

        Returns:
            list[int]: The labels.
        """
        found = self.get_data_info(idx)["gt_label"]
        return list(found) if self.table.several else [int(found)]

    def extra_repr(self) -> list[str]:
        """Describe the split.

        Returns:
            list[str]: Lines for ``repr``.
        """
        form = "several labels an image" if self.table.several else "one label an image"
        return [f"Split: \t{self.split}", f"Table: \t{self.ann_file} ({form})"]


def rows_of(table: Table, where: str) -> dict[str, list[Row]]:
    """Divide the images of a table into splits.

    Args:
        table (Table): The table.
        where (str): Its file, for messages.

    Returns:
        dict[str, list[Row]]: Images of ``train``, ``val`` and ``test``.
    """
    found = {name: [row for row in table.rows if row.split == name] for name in SPLITS}
    found["train"] = found["train"] or [row for row in table.rows if not row.split]
    if not found["val"]:
        chosen = hold_out({row.name: row.labels for row in found["train"]}, where)
        found["val"] = [row for row in found["train"] if row.name in chosen]
        found["train"] = [row for row in found["train"] if row.name not in chosen]
    found["test"] = found["test"] or found["val"]
    return found
