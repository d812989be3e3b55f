"""Dataset of unlabeled images from a folder of any layout or from a COCO file."""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence
from typing import Any

from mmengine.fileio import exists, isdir, load
from mmpretrain.datasets import BaseDataset

from smallvit.datasets.class_folders import BANDS_WAY_OUT, EXTENSIONS
from smallvit.datasets.io.file_names import list_files
from smallvit.errors import DataError
from smallvit.registry import DATASETS


@DATASETS.register_module()
class UnlabeledImages(BaseDataset):
    """Dataset of all images in a folder and its subfolders, or in a COCO file, without labels.

    ``sample_idx`` is the index of a sample in the sorted list of file names.

    Args:
        data_root (str): Image folder. Names in ``ann_file`` are relative to it.
        ann_file (str): COCO file that lists the images. Annotations are ignored. Defaults to "",
            which uses all images in ``data_root``.
        extensions (Sequence[str]): Image file extensions in lower case. Defaults to those
            supported by ``LoadImageFromFile``.
        pipeline (Sequence[dict | Callable]): Transforms or their configs. Defaults to ``()``.
        test_mode (bool): Whether to raise an error if a sample cannot be loaded, instead of
            loading another one. Defaults to False.
        **kwargs: Other arguments of :class:`mmpretrain.datasets.BaseDataset`.

    Raises:
        DataError: If ``data_root`` does not exist or contains no images, or ``ann_file`` is not a
            COCO file.
    """

    #: Images directly in the folder are also used.
    with_label = False

    def __init__(
        self,
        data_root: str,
        ann_file: str = "",
        extensions: Sequence[str] = EXTENSIONS,
        pipeline: Sequence = (),
        test_mode: bool = False,
        **kwargs: Any,
    ) -> None:
        self.extensions = tuple(extensions)
        super().__init__(
            ann_file=ann_file,
            data_root=data_root,
            pipeline=pipeline,
            test_mode=test_mode,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Load the image paths.

        Returns:
            list[dict]: ``img_path`` of each sample.
        """
        root = self.data_root or ""
        if not isdir(root):
            raise DataError(f"folder {root or '(empty)'} does not exist. Set data_root")
        names = self._of_file(self.ann_file) if self.ann_file else list_files(root)
        found = [name for name in names if name.lower().endswith(self.extensions)]
        if not found:
            arrays = any(name.lower().endswith(".npy") for name in names)
            raise DataError(
                f"{root} contains no image ({', '.join(self.extensions)})"
                + (f"; {BANDS_WAY_OUT}" if arrays else "")
            )
        return [{"img_path": osp.join(root, *name.split("/"))} for name in found]

    @staticmethod
    def _of_file(path: str) -> list[str]:
        if not exists(path):
            raise DataError(f"file {path} does not exist. Set ann_file")
        content = load(path, file_format="json")
        images = content.get("images") if isinstance(content, dict) else None
        if not isinstance(images, list) or not all(_is_named(image) for image in images):
            raise DataError(f"{path} is not a COCO file: it has no list of images with file_name")
        return sorted({image["file_name"].replace("\\", "/") for image in images})


def _is_named(image: Any) -> bool:
    return isinstance(image, dict) and isinstance(image.get("file_name"), str)
