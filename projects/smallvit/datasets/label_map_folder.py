"""Custom segmentation data: images with label maps, in two folders or listed in a file."""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from smallvit.datasets.formats.folders import IMAGE_ENDINGS, files_below, images_below, inside
from smallvit.errors import DataError
from smallvit.registry import DATASETS
from smallvit.utils.text import name_some

#: File extensions of label maps, the most common first.
MAP_ENDINGS = (".png", ".tif", ".tiff", ".bmp", ".gif", ".pgm")


@DATASETS.register_module()
class LabelMaps(BaseDataset):
    """Images with label maps, with any file extensions.

    A label map is named like its image, with ``seg_map_suffix`` before the extension::

        data_root
        ├── images
        │   └── train/1.jpg
        └── annotations
            └── train/1.png

    Images without a label map are skipped, and their number is logged.

    Args:
        data_root (str): The data folder.
        data_prefix (dict): Folders below it: ``img_path`` of the images, ``seg_map_path`` of the
            label maps. Both may be one folder, if ``seg_map_suffix`` or the endings differ.
        ann_file (str): A list of images, in place of all that are in the folder. A line has the
            path of an image and that of its label map, behind a tabulator, relative to the two
            folders; without the latter it is found by its name. Defaults to "": all.
        seg_map_suffix (str): What the name of a label map has between that of the image and the
            ending, such as ``_mask``. Defaults to "".
        ignore_index (int): Label of the pixels that are of no class. Defaults to 255.
        reduce_zero_label (bool): Whether 0 stands for no class, and the classes begin at 1.
            Defaults to False.
        metainfo (dict, optional): With ``classes``. Defaults to None.
        **kwargs: Other arguments of :class:`mmengine.dataset.BaseDataset`.

    Raises:
        DataError: If a folder or the list is missing, or no image has a label map.
    """

    METAINFO: dict = {}

    def __init__(
        self,
        data_root: str,
        data_prefix: dict | None = None,
        ann_file: str = "",
        seg_map_suffix: str = "",
        ignore_index: int = 255,
        reduce_zero_label: bool = False,
        metainfo: dict | None = None,
        **kwargs,
    ) -> None:
        self.seg_map_suffix = seg_map_suffix
        self.ignore_index = ignore_index
        self.reduce_zero_label = reduce_zero_label
        self.label_map = None
        metainfo = dict(metainfo or {})
        metainfo.setdefault("palette", palette_of(len(metainfo.get("classes") or ())))
        metainfo.update(label_map=None, reduce_zero_label=reduce_zero_label)
        prefix = {"img_path": "", "seg_map_path": "", **(data_prefix or {})}
        super().__init__(
            ann_file=ann_file,
            metainfo=metainfo,
            data_root=data_root,
            data_prefix=prefix,
            **kwargs,
        )

    @property
    def extensions(self) -> tuple[str, ...]:
        """tuple[str, ...]: File extensions of the images."""
        return IMAGE_ENDINGS

    def load_data_list(self) -> list[dict]:
        """List the images that have a label map.

        Returns:
            list[dict]: ``img_path`` and ``seg_map_path`` of each, with mmseg's settings.
        """
        images, maps = self.data_prefix["img_path"], self.data_prefix["seg_map_path"]
        for folder in dict.fromkeys((images, maps)):
            if not osp.isdir(folder):
                raise DataError(
                    f"folder {folder} does not exist. Set data_root, and data_prefix=dict(img_path="
                    "..., seg_map_path=...) relative to it"
                )
        pairs = self._listed() if self.ann_file else self._paired(images, maps)
        if not pairs:
            raise DataError(f"no image of {images} has a label map of the same name in {maps}")
        settings = {"label_map": None, "reduce_zero_label": self.reduce_zero_label}
        return [
            {
                "img_path": osp.join(images, image),
                "seg_map_path": osp.join(maps, label),
                "seg_fields": [],
                **settings,
            }
            for image, label in pairs
        ]

    def _paired(self, images: str, maps: str) -> list[tuple[str, str]]:
        pairs, without = pair_maps(images, maps, self.seg_map_suffix)
        if without:
            text = f"{len(without)} images of {images} have no label map in {maps} and are skipped"
            print_log(f"{text}: {name_some(without, 3)}", "current", level=30)
        return pairs

    def _listed(self) -> list[tuple[str, str]]:
        try:
            with open(self.ann_file, encoding="utf-8") as file:
                lines = [line for line in file.read().splitlines() if line.strip()]
        except OSError as error:
            raise DataError(f"{self.ann_file}: {error.strerror}") from error
        pairs = []
        for number, line in enumerate(lines, 1):
            image, _, label = line.partition("\t")
            if not label:
                label = f"{osp.splitext(image)[0]}{self.seg_map_suffix}{MAP_ENDINGS[0]}"
            for path in (image, label):
                if inside("", path) is None:
                    where = f"{self.ann_file}, line {number}"
                    raise DataError(f"{where}: {path} is outside of the data folder")
            pairs.append((image, label))
        return pairs


def pair_maps(images: str, maps: str, suffix: str = "") -> tuple[list[tuple[str, str]], list[str]]:
    """Find the label map of each image of a folder.

    Args:
        images (str): Folder of the images.
        maps (str): Folder of the label maps; may be the same.
        suffix (str): What their names have before the ending. Defaults to "".

    Returns:
        tuple[list[tuple[str, str]], list[str]]: Image and label map, relative to their folders;
        and the images without.
    """
    names = images_below(images)
    labels = names if maps == images else files_below(maps, MAP_ENDINGS)
    by_stem: dict[str, dict[str, str]] = {}
    for label in labels:
        stem, ending = osp.splitext(label)
        by_stem.setdefault(stem, {}).setdefault(ending.lower(), label)
    taken = _maps_among(names, suffix) if maps == images else set()
    pairs, without = [], []
    for name in names:
        if name in taken:
            continue
        found = by_stem.get(osp.splitext(name)[0] + suffix, {})
        itself = name if maps == images else None
        others = (found.get(ending) for ending in MAP_ENDINGS)
        label = next((one for one in others if one not in (None, itself)), None)
        if label is None:
            without.append(name)
        else:
            pairs.append((name, label))
    return pairs, without


def _maps_among(names: Sequence[str], suffix: str) -> set[str]:
    """Label maps in a folder that also contains the images."""
    stems: dict[str, list[str]] = {}
    for name in names:
        stems.setdefault(osp.splitext(name)[0], []).append(name)
    if suffix:
        return {
            name
            for name in names
            if osp.splitext(name)[0].endswith(suffix)
            and osp.splitext(name)[0].removesuffix(suffix) in stems
        }
    pairs = [both for both in stems.values() if len(both) > 1]
    return {name for both in pairs for name in both if osp.splitext(name)[1].lower() == ".png"}


def palette_of(count: int) -> list[list[int]]:
    """Assign a color to each class: those of Pascal VOC, which are easy to distinguish.

    Args:
        count (int): Number of classes.

    Returns:
        list[list[int]]: Red, green and blue of each.
    """
    palette = []
    for number in range(count):
        color, rest = [0, 0, 0], number
        for bit in range(7, -1, -1):
            for channel in range(3):
                color[channel] |= (rest >> channel & 1) << bit
            rest >>= 3
        palette.append(color)
    return palette
