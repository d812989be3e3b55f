"""DomainNet dataset, loaded from the official image lists or from class folders."""

import os.path as osp
from collections.abc import Iterator, Sequence

from mmengine.fileio import exists, list_dir_or_file, list_from_file
from mmpretrain.datasets import BaseDataset

from smallvit.datasets.checks import check_choice, check_exists, check_label
from smallvit.errors import DataError
from smallvit.registry import DATASETS

DOMAINS = ("clipart", "infograph", "painting", "quickdraw", "real", "sketch")
SPLITS = ("train", "test")
NUM_CLASSES = 345
SUFFIXES = (".jpg", ".png")
#: Folder names of each split. In some copies, the test folder is named val.
FOLDERS = {"train": ("train",), "test": ("test", "val")}


@DATASETS.register_module()
class DomainNet(BaseDataset):
    """One domain of the DomainNet dataset, with 345 classes in six domains (Peng et al., Moment
    Matching for Multi-Source Domain Adaptation, ICCV 2019).

    The official image lists are used if they exist. Class names and labels are then defined by
    the training list::

        data_root
        ├── clipart_train.txt           lines such as:
        ├── clipart_test.txt              clipart/aircraft_carrier/clipart_001_000001.jpg 0
        └── clipart/aircraft_carrier/clipart_001_000001.jpg

    Without ``{domain}_train.txt``, images are loaded from the split folders, and the classes are
    the sorted folder names in ``train``. ``val`` is used if there is no ``test`` folder::

        data_root
        └── clipart
            ├── train/aircraft_carrier/clipart_001_000001.jpg
            └── test/aircraft_carrier/...

    Args:
        data_root (str): Root folder of all domains.
        domain (str): ``clipart``, ``infograph``, ``painting``, ``quickdraw``, ``real`` or
            ``sketch``.
        split (str): ``train`` or ``test``. Defaults to ``'train'``.
        pipeline (Sequence[dict | Callable]): Transforms or their configs. Defaults to ``()``.
        metainfo (dict, optional): Meta information that replaces the default one.
            Defaults to None, which sets ``classes`` to the class names.
        test_mode (bool): Whether to raise an error if a sample cannot be loaded, instead of
            loading another one. Defaults to False.
        **kwargs: Other arguments of :class:`mmpretrain.datasets.BaseDataset`.

    Raises:
        ValueError: If the domain or the split is unknown.
        DataError: If a required file or folder is missing or empty, a line of a list is not an
            image and a label, or a label or class does not occur in the training images.
    """

    def __init__(
        self,
        data_root: str,
        domain: str,
        split: str = "train",
        pipeline: Sequence = (),
        metainfo: dict | None = None,
        test_mode: bool = False,
        **kwargs,
    ) -> None:
        self.domain = check_choice(domain, DOMAINS, "DomainNet has no domain")
        self.split = check_choice(split, SPLITS, "DomainNet has no split")
        self._root = data_root
        self.has_lists = exists(self._list("train"))
        self.class_names = self._listed_classes() if self.has_lists else self._class_folders()
        super().__init__(
            ann_file=f"{domain}_{split}.txt" if self.has_lists else "",
            metainfo=metainfo or {"classes": self.class_names},
            data_root=data_root,
            pipeline=pipeline,
            test_mode=test_mode,
            **kwargs,
        )

    def _list(self, split: str) -> str:
        return osp.join(self._root, f"{self.domain}_{split}.txt")

    def _require(self, path: str) -> str:
        return check_exists(
            path,
            "DomainNet",
            f"data_root must be the folder with {self.domain}_train.txt, {self.domain}_test.txt "
            f"and {self.domain}/, or with {self.domain}/train/ and {self.domain}/test/",
        )

    def _folder(self, split: str) -> str:
        found = (osp.join(self._root, self.domain, name) for name in FOLDERS[split])
        first = osp.join(self._root, self.domain, FOLDERS[split][0])
        return self._require(next(filter(exists, found), first))

    def _listed_classes(self) -> tuple[str, ...]:
        names: dict[int, str] = {}
        path = self._list("train")
        for path_of_image, label, where in _entries(path, NUM_CLASSES):
            name = _class_of(path_of_image)
            if names.setdefault(label, name) != name:
                raise DataError(
                    f"{where}: label {label} is {name!r}, but {names[label]!r} in a line above"
                )
        missing = [label for label in range(len(names)) if label not in names]
        if missing or not names:
            raise DataError(
                f"{path}: label {(missing or [0])[0]} has no image. Number the labels from 0"
            )
        return tuple(names[label] for label in range(len(names)))

    def _class_folders(self) -> tuple[str, ...]:
        folder = self._folder("train")
        names = tuple(sorted(list_dir_or_file(folder, list_file=False)))
        if not names:
            raise DataError(f"DomainNet: {folder} contains no class folder")
        return names

    def load_data_list(self) -> list[dict]:
        """Load the image paths and labels of the split.

        Returns:
            list[dict]: ``img_path`` and ``gt_label`` of each sample.
        """
        samples = self._listed_images() if self.has_lists else self._images_in_folders()
        return [{"img_path": path, "gt_label": label} for path, label in samples]

    def _listed_images(self) -> Iterator[tuple[str, int]]:
        path = self._require(self.ann_file)
        for image, label, where in _entries(path, len(self.class_names)):
            if _class_of(image) != self.class_names[label]:
                raise DataError(
                    f"{where}: label {label} is {_class_of(image)!r}, but "
                    f"{self.class_names[label]!r} in {self._list('train')}"
                )
            yield osp.join(self.data_root, image), label

    def _images_in_folders(self) -> Iterator[tuple[str, int]]:
        folder = self._folder(self.split)
        labels = {name: label for label, name in enumerate(self.class_names)}
        for name in sorted(list_dir_or_file(folder, list_file=False)):
            images = osp.join(folder, name)
            if name not in labels:
                raise DataError(
                    f"{images}: class {name!r} does not exist in {self._folder('train')}"
                )
            files = sorted(list_dir_or_file(images, list_dir=False, suffix=SUFFIXES))
            if not files:
                raise DataError(f"DomainNet: {images} contains no {' or '.join(SUFFIXES)} file")
            yield from ((osp.join(images, file), labels[name]) for file in files)

    def extra_repr(self) -> list[str]:
        """Describe the domain and split.

        Returns:
            list[str]: Lines to include in ``repr``.
        """
        return [f"Domain: \t{self.domain}", f"Split: \t{self.split}"]


def _entries(path: str, count: int) -> Iterator[tuple[str, int, str]]:
    """Yield the image, label and location of each line of an image list."""
    for number, line in enumerate(list_from_file(path), 1):
        if not line.strip():
            continue
        where = f"{path}, line {number}"
        image, _, label = line.strip().rpartition(" ")
        if not image:
            raise DataError(f"{where}: expected an image and its label, got {line!r}")
        yield image, check_label(label, count, where), where


def _class_of(image: str) -> str:
    return image.split("/")[-2] if "/" in image else ""
