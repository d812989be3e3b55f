"""iNaturalist 2018 and 2019 datasets, loaded from the official annotation files."""

import os.path as osp
from collections.abc import Sequence

from mmengine.fileio import exists
from mmpretrain.datasets import BaseDataset

from smallvit.datasets.checks import check_choice, check_exists, read_json
from smallvit.errors import DataError
from smallvit.registry import DATASETS

YEARS = (2018, 2019)
SPLITS = ("train", "val")
CATEGORIES = ("name", "genus", "family", "order", "class", "phylum", "kingdom", "supercategory")
NUMBERINGS = ("appearance", "id")


@DATASETS.register_module()
class INaturalist(BaseDataset):
    """iNaturalist 2018 (8,142 species) or 2019 (1,010 species) dataset (Van Horn et al., The
    iNaturalist Species Classification and Detection Dataset, CVPR 2018).

    Expected layout, as in the unpacked archives. The test images have no labels and are not
    used::

        data_root
        ├── train2018.json              COCO-like: images, annotations, categories
        ├── val2018.json
        ├── categories.json             required if the files above contain only species names
        └── train_val2018/Aves/2761/0a1b2c.jpg

    A class is a species or a taxon of another rank. As in the official code of DHVT, classes
    are numbered in the order of first appearance in the training annotations, so the ``val``
    split also reads ``train2018.json``. Classes without training images come last, sorted by
    category id.

    Args:
        data_root (str): Folder with the annotation files.
        year (int): 2018 or 2019. Defaults to 2018.
        split (str): ``train`` or ``val``. Defaults to ``'train'``.
        category (str): Taxonomic rank of the classes: ``name`` (species), ``genus``, ``family``,
            ``order``, ``class``, ``phylum``, ``kingdom`` or ``supercategory``. Defaults to
            ``'name'``.
        numbering (str): Order of the classes: ``appearance`` (first appearance in the training
            annotations) or ``id`` (category id). Defaults to ``'appearance'``.
        pipeline (Sequence[dict | Callable]): Transforms or their configs. Defaults to ``()``.
        metainfo (dict, optional): Meta information that replaces the default one.
            Defaults to None, which sets ``classes`` to the class names.
        test_mode (bool): Whether to raise an error if a sample cannot be loaded, instead of
            loading another one. Defaults to False.
        **kwargs: Other arguments of :class:`mmpretrain.datasets.BaseDataset`.

    Raises:
        ValueError: If a setting has an unsupported value.
        DataError: If an annotation file is missing or inconsistent, for example with unlisted
            categories or images, or images without a category.
    """

    def __init__(
        self,
        data_root: str,
        year: int = 2018,
        split: str = "train",
        category: str = "name",
        numbering: str = "appearance",
        pipeline: Sequence = (),
        metainfo: dict | None = None,
        test_mode: bool = False,
        **kwargs,
    ) -> None:
        self.year = check_choice(year, YEARS, "iNaturalist is not supported for the year")
        self.split = check_choice(split, SPLITS, "iNaturalist has no labeled split")
        self.category = check_choice(category, CATEGORIES, "iNaturalist has no category")
        self.numbering = check_choice(numbering, NUMBERINGS, "iNaturalist has no numbering by")
        path = self._annotations(data_root, split)
        self._content = _read(path, "images", "annotations", "categories")
        self.labels, classes = self._number_classes(data_root, path)
        super().__init__(
            ann_file=osp.basename(path),
            metainfo=metainfo or {"classes": classes},
            data_root=data_root,
            pipeline=pipeline,
            test_mode=test_mode,
            **kwargs,
        )

    def _number_classes(self, data_root: str, path: str) -> tuple[dict[int, int], tuple[str, ...]]:
        """Map category ids to labels, and list the class names."""
        categories = {entry["id"]: entry for entry in self._content["categories"]}
        ids = list(dict.fromkeys([*self._first_seen(data_root, categories), *sorted(categories)]))
        if self.category == "name":
            # Names of species are not unique.
            labels = {number: label for label, number in enumerate(ids)}
            return labels, tuple(str(categories[number]["name"]) for number in ids)
        ranks = self._ranks([categories[number] for number in sorted(ids)], data_root, path)
        classes = tuple(dict.fromkeys(ranks[number] for number in ids))
        numbers = {name: label for label, name in enumerate(classes)}
        return {number: numbers[ranks[number]] for number in categories}, classes

    def _annotations(self, data_root: str, split: str) -> str:
        return check_exists(
            osp.join(data_root, f"{split}{self.year}.json"),
            "iNaturalist",
            f"data_root must be the folder with {split}{self.year}.json and train_val{self.year}/",
        )

    def _first_seen(self, data_root: str, categories: dict[int, dict]) -> list[int]:
        """List category ids in the order of first appearance in the training annotations."""
        if self.numbering == "id":
            return []
        content = self._content
        if self.split != "train":
            content = _read(self._annotations(data_root, "train"), "annotations")
        seen = dict.fromkeys(entry["category_id"] for entry in content["annotations"])
        return [number for number in seen if number in categories]

    def _ranks(self, categories: list[dict], data_root: str, path: str) -> dict[int, str]:
        """Map category ids to taxa of the requested rank."""
        other = osp.join(data_root, "categories.json")
        if any(self.category not in entry for entry in categories) and exists(other):
            # List indexed by category id.
            told = read_json(other)
            categories = [{"id": index, **entry} for index, entry in enumerate(told)]
        lacking = [entry["id"] for entry in categories if self.category not in entry]
        if lacking:
            raise DataError(
                f"{path} does not contain the {self.category} of category {lacking[0]}, and "
                f"neither does {other}. Download categories.json of iNaturalist {self.year}, or "
                "set category='name'"
            )
        return {entry["id"]: str(entry[self.category]) for entry in categories}

    def load_data_list(self) -> list[dict]:
        """Load the image paths and labels of the split.

        Returns:
            list[dict]: ``img_path`` and ``gt_label`` of each sample.
        """
        content, self._content = self._content, None
        categories = {entry["image_id"]: entry["category_id"] for entry in content["annotations"]}
        files = {image["id"]: image["file_name"] for image in content["images"]}
        return [
            {
                "img_path": osp.join(self.data_root, name),
                "gt_label": self._label(name, categories.get(image)),
            }
            for image, name in files.items()
        ]

    def _label(self, name: str, category: int | None) -> int:
        if category is None:
            raise DataError(f"{self.ann_file}: image {name} has no annotation")
        if category not in self.labels:
            raise DataError(
                f"{self.ann_file}: image {name} has the unknown category {category}, expected "
                f"one of {len(self.labels)}"
            )
        return self.labels[category]

    def extra_repr(self) -> list[str]:
        """Describe the year, split and classes.

        Returns:
            list[str]: Lines to include in ``repr``.
        """
        return [f"Year: \t{self.year}", f"Split: \t{self.split}", f"Category: \t{self.category}"]


def _read(path: str, *keys: str) -> dict:
    content = read_json(path)
    missing = set(keys) - set(content)
    if missing:
        raise DataError(f"{path} has no {', '.join(sorted(missing))}")
    return content
