"""Find the images to pretrain on, in a folder of any layout or a COCO file."""

from __future__ import annotations

import os
import os.path as osp
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from smallvit.datasets.class_folders import EXTENSIONS
from smallvit.datasets.unlabeled import UnlabeledImages
from smallvit.errors import UserError

#: Minimum number of images.
LEAST = 8
#: Names of evaluation splits, which are excluded from pretraining.
MEASURING = ("val", "valid", "validation", "test", "testing")


@dataclass(frozen=True)
class Images:
    """Unlabeled images.

    Args:
        root (str): Root folder of the images.
        ann_file (str): Path of the COCO file, "" for all images of the folder.
        paths (tuple[str, ...]): Paths of the images.
        folders (dict[str, int]): Number of images per folder, by folder name.
        note (str): Message for the user. Defaults to "".
        extensions (tuple[str, ...]): Endings of the images, if not those of photographs. Defaults
            to ().
    """

    root: str
    ann_file: str
    paths: tuple[str, ...]
    folders: dict[str, int]
    note: str = ""
    extensions: tuple[str, ...] = ()

    @property
    def has_classes(self) -> bool:
        """bool: Whether the folders look like classes, for k-NN evaluation of the features."""
        return not self.ann_file and 1 < len(self.folders) <= 1000

    def dataset(self) -> dict[str, Any]:
        """Return the config of the dataset that reads the images.

        Returns:
            dict: ``type``, ``data_root``, and ``ann_file`` and ``extensions`` if they are given.
        """
        file: dict[str, Any] = {"ann_file": self.ann_file} if self.ann_file else {}
        file |= {"extensions": list(self.extensions)} if self.extensions else {}
        return {"type": "smallvit.UnlabeledImages", "data_root": self.root, **file}


def find_images(path: str, extensions: Sequence[str] = EXTENSIONS) -> Images:
    """Find the images to pretrain on.

    Args:
        path (str): A flat folder; class folders, of which only ``train/`` is read if there are
            splits; or a COCO file, whose images are next to it or in a folder ``images``.
        extensions (Sequence[str]): Endings of the images. Defaults to those of photographs.

    Returns:
        Images: Images found.

    Raises:
        UserError: If the path does not exist, images are missing, or there are too few.
    """
    path = osp.abspath(osp.expanduser(path))
    if not osp.exists(path):
        raise UserError(f"--data {path}: no such file or folder")
    root, ann_file, note = _source(path)
    dataset = UnlabeledImages(root, ann_file=ann_file, extensions=extensions)
    paths = tuple(dataset.get_data_info(index)["img_path"] for index in range(len(dataset)))
    missing = next((one for one in paths if not osp.exists(one)), None) if ann_file else None
    if missing is not None:
        raise UserError(f"--data {path}: the listed image {missing} is missing")
    if len(paths) < LEAST:
        raise UserError(f"--data {path}: expected at least {LEAST} images, got {len(paths)}")
    folders = Counter(osp.basename(osp.dirname(one)) for one in paths)
    others = () if tuple(extensions) == EXTENSIONS else tuple(extensions)
    return Images(root, ann_file, paths, dict(folders), note, others)


def _source(path: str) -> tuple[str, str, str]:
    if osp.isfile(path):
        if not path.lower().endswith(".json"):
            raise UserError(f"--data {path}: expected a folder of images or a COCO file (.json)")
        return _folder_of(path), path, "the images of the file, without its objects"
    folders = {name for name in os.listdir(path) if osp.isdir(osp.join(path, name))}
    if "train" in folders and folders & set(MEASURING):
        left = ", ".join(sorted(folders & set(MEASURING)))
        return osp.join(path, "train"), "", f"those of train/; {left}/ is kept for evaluation"
    return path, "", ""


def _folder_of(file: str) -> str:
    """Find the folder that the file names of a COCO file are relative to, by its first image."""
    import json

    with open(file, encoding="utf-8") as opened:
        content = json.load(opened)
    images = content.get("images") if isinstance(content, dict) else None
    name = images[0].get("file_name") if images and isinstance(images[0], dict) else None
    if not isinstance(name, str):
        raise UserError(f"--data {file} is not a COCO file: it has no list of images")
    here = osp.dirname(file)
    stem = osp.splitext(osp.basename(file))[0].rpartition("_")[2]
    places = [here, osp.join(here, "images"), osp.join(here, stem)]
    places += [osp.join(osp.dirname(here), part) for part in ("", "images", stem)]
    found = next((each for each in places if osp.exists(osp.join(each, name))), None)
    if found is None:
        raise UserError(f"--data {file}: {name} not found in {', '.join(places)}")
    return found
