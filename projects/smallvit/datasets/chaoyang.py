"""Chaoyang dataset of colon slide patches."""

import os.path as osp
from collections.abc import Sequence

from mmpretrain.datasets import BaseDataset

from smallvit.datasets.checks import check_choice, check_exists, check_label, read_json
from smallvit.errors import DataError
from smallvit.registry import DATASETS

CLASSES = ("normal", "serrated", "adenocarcinoma", "adenoma")
SPLITS = ("train", "test")
LAYOUT = "data_root must be the folder with train.json, test.json, train/ and test/"


@DATASETS.register_module()
class Chaoyang(BaseDataset):
    """Chaoyang dataset: 4,021 training and 2,139 test patches of 512x512 pixels in four classes
    (Zhu et al., Hard Sample Aware Noise Robust Learning for Histopathology Image
    Classification, IEEE TMI 2022). The labels of the training patches are noisy.

    Expected layout, as in the unpacked archive::

        data_root
        ├── train.json                  [{"name": "train/535864-1-IMG001x005-0.JPG",
        ├── test.json                     "label": 0}, ...]
        ├── train/535864-1-IMG001x005-0.JPG
        └── test/...

    Args:
        data_root (str): Root folder of the dataset.
        split (str): ``train`` or ``test``. Defaults to ``'train'``.
        pipeline (Sequence[dict | Callable]): Transforms or their configs. Defaults to ``()``.
        metainfo (dict, optional): Meta information that replaces the default one.
            Defaults to None.
        test_mode (bool): Whether to raise an error if a sample cannot be loaded, instead of
            loading another one. Defaults to False.
        **kwargs: Other arguments of :class:`mmpretrain.datasets.BaseDataset`.

    Raises:
        ValueError: If the split is unknown.
        DataError: If the annotation file is missing, or a label is not 0 to 3.
    """

    METAINFO = {"classes": CLASSES}

    def __init__(
        self,
        data_root: str,
        split: str = "train",
        pipeline: Sequence = (),
        metainfo: dict | None = None,
        test_mode: bool = False,
        **kwargs,
    ) -> None:
        self.split = check_choice(split, SPLITS, "Chaoyang has no split")
        super().__init__(
            ann_file=f"{split}.json",
            metainfo=metainfo,
            data_root=data_root,
            pipeline=pipeline,
            test_mode=test_mode,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """Load the annotations of the split.

        Returns:
            list[dict]: ``img_path`` and ``gt_label`` of each sample.
        """
        entries = read_json(check_exists(self.ann_file, "Chaoyang", LAYOUT))
        return [self._sample(number, entry) for number, entry in enumerate(entries)]

    def _sample(self, number: int, entry: dict) -> dict:
        where = f"{self.ann_file}, entry {number}"
        if not isinstance(entry, dict) or not {"name", "label"} <= entry.keys():
            raise DataError(f"{where}: expected a name and a label, got {entry!r}")
        return {
            "img_path": osp.join(self.data_root, entry["name"]),
            "gt_label": check_label(entry["label"], len(CLASSES), where),
        }

    def extra_repr(self) -> list[str]:
        """Describe the split.

        Returns:
            list[str]: Lines to include in ``repr``.
        """
        return [f"Split: \t{self.split}"]
