"""Recognition of image classification datasets with one folder per class."""

from __future__ import annotations

import os
import os.path as osp
from collections import Counter

from smallvit.datasets.class_folders import (
    EXTENSIONS,
    class_folders,
    find_classes,
    list_images,
    split_folders,
)
from smallvit.datasets.formats.folders import IMAGE_ENDINGS, SPLIT_NAMES
from smallvit.datasets.recognition.own_data import OwnData
from smallvit.datasets.recognition.splitting import (
    Fold,
    hold_out,
    say_set_aside,
    say_split,
    write_lists,
)
from smallvit.errors import DataError

#: Lower-case folder names of other layouts, which are not counted as class folders.
PARTS = {
    *("images", "image", "imgs", "img", "jpegimages", "leftimg8bit", "rgb", "labels", "label"),
    *("annotations", "annotation", "masks", "mask", "segmentationclass", "segmentationobject"),
    *("imagesets", "ground_truth", "gt", "gtfine", "segmentation", "seg"),
    *SPLIT_NAMES,
}


def count_class_folders(root: str, endings: tuple[str, ...] = IMAGE_ENDINGS) -> int:
    """Count the class folders in a data folder.

    Args:
        root (str): Data folder.
        endings (tuple[str, ...]): Lower-case file name extensions of images. Defaults to
            ``IMAGE_ENDINGS``.

    Returns:
        int: Number of subfolders with images, in the data folder or in one of its split folders,
        whichever is larger. Folder names of other layouts are not counted.
    """
    if not osp.isdir(root):
        return 0
    folders = [osp.join(root, name) for name in _subfolders(root) if name.lower() in SPLIT_NAMES]
    return max(_count(folder, endings) for folder in (root, *folders))


def _count(folder: str, endings: tuple[str, ...]) -> int:
    names = [name for name in _subfolders(folder) if name.lower() not in PARTS]
    return sum(_holds_images(osp.join(folder, name), endings) for name in names)


def _subfolders(folder: str) -> list[str]:
    with os.scandir(folder) as entries:
        return sorted(one.name for one in entries if one.is_dir() and one.name[:1] != ".")


def _holds_images(folder: str, endings: tuple[str, ...]) -> bool:
    with os.scandir(folder) as entries:
        return any(one.name.lower().endswith(endings) for one in entries)


def read_class_folders(
    root: str, out: str, fold: Fold | None = None, extensions: tuple[str, ...] = EXTENSIONS
) -> OwnData:
    """Read a dataset with one folder per class.

    Args:
        root (str): Data folder.
        out (str): Work folder to which the lists of a generated split are written.
        fold (Fold, optional): Cross-validation fold that is held out for validation. Defaults to
            None: no cross-validation.
        extensions (tuple[str, ...]): File name extensions of images. Defaults to
            ``EXTENSIONS``.

    Returns:
        OwnData: Recognized dataset, with its classes, splits and dataset configs.

    Raises:
        DataError: If the class folders are invalid, or a class has too few training images.
    """
    classes = find_classes(root)
    folders = split_folders(root)
    data = OwnData("folder", "class folders", root, classes)
    for split, folder in folders.items():
        names = class_folders(folder)
        found = {name: list_images(osp.join(folder, name), extensions) for name in names}
        data.counts[split] = Counter({name: len(found.get(name, ())) for name in classes})
        data.images[split] = sum(map(len, found.values()))
        unknown = [name for name in names if name not in classes]
        if unknown:
            raise DataError(
                f"{osp.join(folder, unknown[0])}: class {unknown[0]!r} has no training images. Add "
                "some, or remove this folder"
            )
        if split == "train":
            data.sample = [
                osp.join(folder, name, image) for name, images in found.items() for image in images
            ]
            labels = {f"{name}/{image}": [name] for name in names for image in found[name]}
    if fold is not None:
        if "val" in folders:
            data.notes.append(say_set_aside(data.images["val"]))
            data.images.setdefault("test", data.images["val"])
            data.counts.setdefault("test", data.counts["val"])
        _split(data, labels, hold_out(labels, root, fold), out, fold)
        return data
    if "val" in folders:
        return data
    few = [name for name, number in data.counts["train"].items() if number < 2]
    if few:
        raise DataError(
            f"class folder {osp.join(folders['train'], few[0])} contains one image, so none can be "
            "held out for validation. Add images, or create the folders train/ and val/"
        )
    chosen = set()
    for name in classes:  # per class, so that every class has validation images
        chosen |= hold_out({key: one for key, one in labels.items() if one == [name]}, root)
    _split(data, labels, chosen, out)
    return data


def _split(
    data: OwnData,
    labels: dict[str, list[str]],
    chosen: set[str],
    out: str,
    fold: Fold | None = None,
) -> None:
    splits = {
        "train": [name for name in labels if name not in chosen],
        "val": [name for name in labels if name in chosen],
    }
    lists = data.lists = write_lists(out, splits)
    for split, names in splits.items():
        data.images[split] = len(names)
        count = Counter(labels[name][0] for name in names)
        data.counts[split] = Counter({name: count[name] for name in data.classes})
        data.datasets[split] = {"listed": lists[split]}
    if "test" not in data.images:
        data.datasets["test"] = {"listed": lists["val"]}
    data.notes.append(say_split(out, fold))
