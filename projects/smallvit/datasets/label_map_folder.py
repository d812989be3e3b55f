"""Custom segmentation dataset of images and label maps, in two folders or listed in a file."""

from __future__ import annotations

import os.path as osp
from collections.abc import Sequence

from mmengine.dataset import BaseDataset
from mmengine.logging import print_log

from smallvit.datasets.formats.folders import IMAGE_ENDINGS, files_below, images_below, inside
from smallvit.errors import DataError
from smallvit.registry import DATASETS
from smallvit.utils.text import join_names

#: File extensions of label maps, in order of preference.
MAP_ENDINGS = (".png", ".tif", ".tiff", ".bmp", ".gif", ".pgm")


@DATASETS.register_module()
class LabelMaps(BaseDataset):
    """Segmentation dataset of images and label maps with any supported file extensions.

    A label map has the file name of its image, with ``seg_map_suffix`` before the extension::

        data_root
        ├── images
        │   └── train/1.jpg
        └── annotations
            └── train/1.png

    Images without a label map are skipped, and their number is logged.

    Args:
        data_root (str): Root folder of the dataset.
        data_prefix (dict): Folders relative to ``data_root``: ``img_path`` for images and
            ``seg_map_path`` for label maps. Both may be the same folder if the label maps have a
            ``seg_map_suffix`` or another file extension.
        ann_file (str): File that lists the images. Each line has the path of an image and,
            optionally, a tab and the path of its label map, relative to the two folders. Label
            maps that are not listed are found by name. Defaults to "", which uses all images in
            the folder.
        seg_map_suffix (str): Suffix of label map names before the extension, such as ``_mask``.
            Defaults to "".
        ignore_index (int): Label of pixels that belong to no class. Defaults to 255.
        reduce_zero_label (bool): Whether label 0 is no class and the classes start at 1.
            Defaults to False.
        metainfo (dict, optional): Meta information with ``classes``. Defaults to None.
        **kwargs: Other arguments of :class:`mmengine.dataset.BaseDataset`.

    Raises:
        DataError: If a folder or ``ann_file`` is missing, or no image has a label map.
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
        """Load the paths of images that have a label map.

        Returns:
            list[dict]: ``img_path`` and ``seg_map_path`` of each sample, and the keys required by
            MMSegmentation's transforms.
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
            print_log(f"{text}: {join_names(without, 3)}", "current", level=30)
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
    """Match the images in a folder with their label maps.

    Args:
        images (str): Folder of the images.
        maps (str): Folder of the label maps. May be the same as ``images``.
        suffix (str): Suffix of label map names before the extension. Defaults to "".

    Returns:
        tuple[list[tuple[str, str]], list[str]]: Pairs of image and label map paths, relative to
        their folders, and images without a label map.
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
    """Find the label maps in a folder that also contains the images."""
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
    """Create a palette with the Pascal VOC colors, which are easy to distinguish.

    Args:
        count (int): Number of classes.

    Returns:
        list[list[int]]: RGB color of each class.
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
