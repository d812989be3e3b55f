"""Tiny-ImageNet dataset."""

import os.path as osp
from collections.abc import Iterator, Sequence

from mmengine.fileio import exists, list_dir_or_file, list_from_file
from mmpretrain.datasets import BaseDataset

from smallvit.datasets.io.image_lists import require_name
from smallvit.errors import DataError
from smallvit.registry import DATASETS

SPLITS = ("train", "val")


@DATASETS.register_module()
class TinyImageNet(BaseDataset):
    """Tiny-ImageNet dataset of 200 ImageNet classes at 64x64 pixels, each with 500 training and 50
    validation images (Le and Yang, Tiny ImageNet Visual Recognition Challenge, 2015).

    Expected layout, as in the unpacked archive. The test images have no labels and are not used::

        data_root
        ├── wnids.txt                       identifiers of the 200 classes
        ├── words.txt                       class names
        ├── train/n01443537/images/n01443537_0.JPEG
        └── val
            ├── val_annotations.txt         file name, class and box of each image
            └── images/val_0.JPEG

    Labels are assigned in the order of the sorted class identifiers, as in a folder dataset.

    Args:
        data_root (str): Path of the unpacked folder ``tiny-imagenet-200``.
        split (str): ``train`` or ``val``. Defaults to ``'train'``.
        pipeline (Sequence[dict | Callable]): Transforms or their configs. Defaults to ``()``.
        metainfo (dict, optional): Meta information that replaces the default one.
            Defaults to None, which sets ``classes`` to the class identifiers.
        test_mode (bool): Whether to raise an error if a sample cannot be loaded, instead of
            loading another one. Defaults to False.
        **kwargs: Other arguments of :class:`mmpretrain.datasets.BaseDataset`.

    Raises:
        ValueError: If the split is unknown.
        DataError: If a required file or folder is missing, or an annotation has an unknown class
            or a file outside the image folder.
    """

    def __init__(
        self,
        data_root: str,
        split: str = "train",
        pipeline: Sequence = (),
        metainfo: dict | None = None,
        test_mode: bool = False,
        **kwargs,
    ) -> None:
        if split not in SPLITS:
            raise ValueError(
                f"TinyImageNet has no labeled split {split!r}. Choose one of {', '.join(SPLITS)}"
            )
        self.split = split
        path = self._require(osp.join(data_root, "wnids.txt"))
        names = filter(None, map(str.strip, list_from_file(path)))
        self.identifiers = sorted(require_name(name, path) for name in names)
        super().__init__(
            ann_file="",
            metainfo=metainfo or {"classes": tuple(self.identifiers)},
            data_root=data_root,
            pipeline=pipeline,
            test_mode=test_mode,
            **kwargs,
        )

    @staticmethod
    def _require(path: str) -> str:
        if not exists(path):
            raise DataError(
                f"Tiny-ImageNet: {path} is missing; data_root must be the unpacked folder "
                "tiny-imagenet-200"
            )
        return path

    def load_data_list(self) -> list[dict]:
        """Load the image paths and labels of the split.

        Returns:
            list[dict]: ``img_path`` and ``gt_label`` of each sample.
        """
        samples = self._training_images() if self.split == "train" else self._validation_images()
        return [{"img_path": path, "gt_label": label} for path, label in samples]

    def _training_images(self) -> Iterator[tuple[str, int]]:
        for label, identifier in enumerate(self.identifiers):
            folder = self._require(osp.join(self.data_root, "train", identifier, "images"))
            names = sorted(list_dir_or_file(folder, list_dir=False, suffix=".JPEG"))
            if not names:
                raise DataError(f"Tiny-ImageNet: {folder} contains no .JPEG file")
            yield from ((osp.join(folder, name), label) for name in names)

    def _validation_images(self) -> Iterator[tuple[str, int]]:
        table = self._require(osp.join(self.data_root, "val", "val_annotations.txt"))
        labels = {identifier: label for label, identifier in enumerate(self.identifiers)}
        for number, line in enumerate(list_from_file(table), 1):
            name, identifier, *_ = [*line.split("\t"), ""]
            if identifier not in labels:
                raise DataError(f"{table}, line {number}: class {identifier!r} is not in wnids.txt")
            require_name(name, f"{table}, line {number}")
            yield osp.join(self.data_root, "val", "images", name), labels[identifier]

    def extra_repr(self) -> list[str]:
        """Describe the split.

        Returns:
            list[str]: Lines to include in ``repr``.
        """
        return [f"Split: \t{self.split}"]
