"""Dataset of images listed in a label table, with one or several labels per image."""

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
    """Images and labels of a CSV file, with one or several labels per image.

    See :func:`smallvit.datasets.formats.table.read_table` for the format. If the table has no
    split ``val``, a fixed fifth of the training images of each class is held out for validation;
    if it has no split ``test``, ``val`` is used.

    Args:
        ann_file (str): Path of the table; image paths are relative to its folder.
        data_root (str): Folder that ``ann_file`` is relative to. Defaults to "".
        split (str): ``train``, ``val`` or ``test``. Defaults to ``'train'``.
        listed (str, optional): Text file with one image of the split per line; other images are
            skipped. Defaults to None.
        classes (Sequence[str], optional): Class names in the order of the labels. Defaults to None:
            the classes of the table.
        pipeline (Sequence[dict | Callable]): Transforms. Defaults to an empty tuple.
        test_mode (bool): Whether a sample that fails raises an error instead of being replaced
            by another. Defaults to False.
        **kwargs: Other arguments of :class:`mmpretrain.datasets.MultiLabelDataset`.

    Raises:
        ValueError: If ``split`` is invalid.
        DataError: If the table is invalid or contains other classes.
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
            raise ValueError(f"LabelTable: expected split to be one of {SPLITS}, got {split!r}")
        self.split, self.listed = split, listed
        ann_file = osp.join(data_root, ann_file)
        self.table = read_table(ann_file)
        self.class_names = tuple(classes or self.table.classes)
        unknown = sorted(set(self.table.classes) - set(self.class_names))
        if unknown:
            raise DataError(
                f"{ann_file}: class {unknown[0]!r} is not one of the {len(self.class_names)} "
                "classes of the dataset"
            )
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
            list[dict]: ``img_path`` and ``gt_label`` of each sample: a list of labels if images may
            have several, else an integer.
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
            idx (int): Index of the sample.

        Returns:
            list[int]: Class indices.
        """
        found = self.get_data_info(idx)["gt_label"]
        return list(found) if self.table.several else [int(found)]

    def extra_repr(self) -> list[str]:
        """Describe split and table for ``repr``.

        Returns:
            list[str]: Lines of text.
        """
        form = "several labels per image" if self.table.several else "one label per image"
        return [f"Split: \t{self.split}", f"Table: \t{self.ann_file} ({form})"]


def rows_of(table: Table, where: str) -> dict[str, list[Row]]:
    """Divide the images of a table into splits.

    Args:
        table (Table): Parsed label table.
        where (str): Path of the table, for error messages.

    Returns:
        dict[str, list[Row]]: Images of ``train``, ``val`` and ``test``.
    """
    found = {name: [row for row in table.rows if row.split == name] for name in SPLITS}
    found["train"] = found["train"] or [row for row in table.rows if not row.split]
    if not found["val"]:
        chosen = _choose_validation(table, found["train"], where)
        found["val"] = [row for row in found["train"] if row.name in chosen]
        found["train"] = [row for row in found["train"] if row.name not in chosen]
    found["test"] = found["test"] or found["val"]
    return found


def _choose_validation(table: Table, rows: Sequence[Row], where: str) -> set[str]:
    labels = {row.name: row.labels for row in rows}
    if table.several:
        return hold_out(labels, where)
    names: dict[str, dict[str, Sequence[str]]] = {}
    for row in rows:
        names.setdefault(row.labels[0], {})[row.name] = row.labels
    # One by one, so that every class has training images, and validation images if it has several.
    several = [images for images in names.values() if len(images) > 1] or [labels]
    return set().union(*(hold_out(images, where) for images in several))
