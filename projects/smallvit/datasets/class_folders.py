"""Custom image classification data with one folder per class."""

import hashlib
import os
import os.path as osp
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import lru_cache

from mmengine.fileio import get_text, isdir, list_dir_or_file
from mmengine.logging import print_log
from mmpretrain.datasets import BaseDataset

from smallvit.datasets.checks import check_choice
from smallvit.datasets.io.file_names import list_files
from smallvit.errors import DataError
from smallvit.registry import DATASETS

SPLITS = ("train", "val", "test")
EXTENSIONS = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".tif", ".tiff", ".webp")
#: How arrays of bands are read, for messages.
BANDS_WAY_OUT = "arrays are read as bands: --channels N (smallvit.LoadImageBands in a config)"
#: Alternative names for the folders of the splits.
OTHER_NAMES = ("training", "valid", "validation", "dev", "eval", "testing")


@DATASETS.register_module()
class ClassFolders(BaseDataset):
    """Image classification dataset with one folder per class, sorted by folder name.

    Either with a folder per split, or with all images together::

        data_root                           data_root
        ├── train                           ├── cat
        │   ├── cat/*.jpg                   │   └── *.jpg
        │   └── dog/*.jpg                   └── dog
        ├── val                                 └── *.jpg
        │   └── ...
        └── test
            └── ...

    If there is no ``val``, the fraction ``held_out`` of each class's training images is held out
    for validation. If there is no ``test``, ``val`` is used for testing. Which images are
    held out depends only on ``seed`` and their names: the images of a class are taken in
    the order of the SHA-256 of ``"{seed}/{name}"``, with the name relative to the class
    folder and ``/`` between folders. It is therefore the same on every machine.

    Images may be in folders inside a class folder if others are directly in it. Files and
    folders whose name starts with a dot are ignored.

    Args:
        data_root (str): The folder.
        split (str): ``train``, ``val`` or ``test``. Defaults to ``'train'``.
        held_out (float): Part of each class that is held out where there is no ``val``; at
            least one image, and not all. Defaults to 0.2.
        seed (int): Seed of the choice. Defaults to 0.
        listed (str, optional): File that lists the images of the split, one ``CLASS/NAME`` a
            line, relative to the folder of the training images; others are not read. Defaults
            to None.
        extensions (Sequence[str]): Endings of the files that are images, in lower case. Defaults
            to those that ``LoadImageFromFile`` reads.
        classes (Sequence[str], optional): The classes, where another folder than this one
            decides about them: ``val`` or ``test`` may then lack some. Defaults to None:
            those of the training images.
        pipeline (Sequence[dict | Callable]): Transforms. Defaults to an empty tuple.
        metainfo (dict, optional): Meta information that replaces the default one.
            Defaults to None, the classes as ``classes``.
        test_mode (bool): Whether a sample that fails raises an error instead of being
            replaced by another. Defaults to False.
        **kwargs: Other arguments of :class:`mmpretrain.datasets.BaseDataset`.

    Raises:
        ValueError: If a setting is out of range.
        DataError: If a folder is missing, a class folder has no image, folders differ in case
            alone, or ``val`` or ``test`` has a class that the training images have not.
    """

    def __init__(
        self,
        data_root: str,
        split: str = "train",
        held_out: float = 0.2,
        seed: int = 0,
        listed: str | None = None,
        extensions: Sequence[str] = EXTENSIONS,
        classes: Sequence[str] | None = None,
        pipeline: Sequence = (),
        metainfo: dict | None = None,
        test_mode: bool = False,
        **kwargs,
    ) -> None:
        if not 0 < held_out < 1:
            raise ValueError(f"expected held_out to be a fraction in (0, 1), got {held_out}")
        self.split = check_choice(split, SPLITS, "ClassFolders has no split")
        self.held_out, self.seed = held_out, seed
        self.listed, self.extensions = listed, tuple(extensions)
        self.class_names = find_classes(data_root) if classes is None else tuple(classes)
        super().__init__(
            ann_file="",
            metainfo=metainfo or {"classes": self.class_names},
            data_root=data_root,
            pipeline=pipeline,
            test_mode=test_mode,
            **kwargs,
        )

    def load_data_list(self) -> list[dict]:
        """List the images of the split.

        Returns:
            list[dict]: ``img_path`` and ``gt_label`` of each sample.
        """
        labels = {name: label for label, name in enumerate(self.class_names)}
        if self.listed is not None:
            return list(self._of_list(self.listed, labels))
        folder, part = self.source()
        names = class_folders(folder)
        for name in names:
            if name not in labels:
                raise DataError(_unknown_class(osp.join(folder, name), name, self.class_names))
        absent = [name for name in self.class_names if name not in names]
        if absent and self.split == "train":
            raise DataError(f"class folder {osp.join(folder, absent[0])} is missing")
        if absent:
            print_log(f"{folder} has no images of {', '.join(absent)}", "current", level=30)
        return [
            {"img_path": start + _native(image), "gt_label": labels[name]}
            for name in names
            for start in [osp.join(folder, name, "")]
            for image in self._images(osp.join(folder, name), part)
        ]

    def _of_list(self, path: str, labels: dict[str, int]) -> Iterator[dict]:
        folder = split_folders(self.data_root).get("train", self.data_root)
        lines = get_text(path).splitlines()
        for number, line in enumerate(lines, 1):
            name = line.split("/")[0]
            if name not in labels or ".." in line.split("/"):
                raise DataError(
                    f"{path}, line {number}: expected CLASS/NAME with one of the {len(labels)} "
                    f"classes, got {line!r}"
                )
            yield {"img_path": osp.join(folder, _native(line)), "gt_label": labels[name]}

    def source(self) -> tuple[str, str]:
        """Find the folders and images that the split reads.

        Returns:
            tuple[str, str]: The folder, and which part of it: ``all``, ``kept``, ``held out`` or
            ``listed``.
        """
        if self.listed is not None:
            return split_folders(self.data_root).get("train", self.data_root), "listed"
        folders = split_folders(self.data_root)
        wanted = {"train": ["train"], "val": ["val"], "test": ["test", "val"]}[self.split]
        given = next((folders[name] for name in wanted if name in folders), None)
        if self.split == "train" and given is not None:
            return given, "all" if "val" in folders else "kept"
        if given is not None:
            return given, "all"
        if "train" not in folders:
            raise DataError(
                f"{osp.join(self.data_root, wanted[0])} is missing, and there is no train/ to hold "
                "images out from"
            )
        return folders["train"], "held out"

    def _images(self, folder: str, part: str) -> list[str]:
        names = list_images(folder, self.extensions)
        if part == "all":
            return names
        chosen = _held_out(tuple(names), self.held_out, self.seed)
        if len(chosen) == len(names):
            raise DataError(
                f"{folder} contains one image, so none can be held out for validation. Add images, "
                "or create the folders train/ and val/"
            )
        return [name for name in names if (name in chosen) == (part == "held out")]

    def extra_repr(self) -> list[str]:
        """Describe the split.

        Returns:
            list[str]: Lines for ``repr``.
        """
        folder, part = self.source()
        return [f"Split: \t{self.split}", f"Folder: \t{folder} ({part})"]


def _native(name: str) -> str:
    return name if os.sep == "/" else name.replace("/", os.sep)


@lru_cache(maxsize=1024)
def _held_out(names: tuple[str, ...], part: float, seed: int) -> set[str]:
    """Split each class once, so that training and validation use its two parts."""
    return choose_held_out(names, part, seed)


def choose_held_out(names: Sequence[str], part: float, seed: int) -> set[str]:
    """Select the images of a class that are held out; see :class:`ClassFolders`.

    Args:
        names (Sequence[str]): Names of the images.
        part (float): How many, as a part of all.
        seed (int): Seed of the choice.

    Returns:
        set[str]: The names that are held out: one at least, and all but one at most, unless
        there is one only.
    """
    count = max(1, min(round(part * len(names)), len(names) - 1))

    def rank(name: str) -> bytes:
        return hashlib.sha256(f"{seed}/{name}".encode()).digest()

    return set(sorted(names, key=rank)[:count])


def find_classes(data_root: str) -> tuple[str, ...]:
    """Find the classes of a data folder: the sorted folder names of the training images.

    Args:
        data_root (str): The folder; see :class:`ClassFolders` for its layout.

    Returns:
        tuple[str, ...]: The classes, at least two.

    Raises:
        DataError: If there are fewer, two folders differ in case alone, or there is no such
            folder, or no training images' in it.
    """
    folders = split_folders(data_root)
    if "train" not in folders:
        raise DataError(f"{osp.join(data_root, 'train')} is missing; it defines the classes")
    names = class_folders(folders["train"])
    if len(names) < 2:
        raise DataError(
            f"{folders['train']}: expected at least two class folders, got one ({names[0]}). "
            f"Create {osp.join(data_root, 'CLASS')}/ or {osp.join(data_root, 'train', 'CLASS')}/ "
            "for each class"
        )
    return names


def split_folders(data_root: str) -> dict[str, str]:
    """Find the folders of the splits.

    Args:
        data_root (str): The data folder.

    Returns:
        dict[str, str]: Folder of each split that has one; ``train`` is the data folder
        itself where it holds the classes directly.

    Raises:
        DataError: If there is no such folder, or a split's has a name that is not read.
    """
    if not data_root or not isdir(data_root):
        raise DataError(
            f"folder {data_root or '(empty)'} does not exist. Set data_root to the folder with the "
            "class folders (--cfg-options data_root=/path/to/images)"
        )
    names = _subfolders(data_root)
    splits = {name: osp.join(data_root, name) for name in SPLITS if name in names}
    # A folder called train may also be a class: pictures of trains.
    splits = {name: folder for name, folder in splits.items() if _subfolders(folder)}
    for name in names:
        other = name.lower() in (*SPLITS, *OTHER_NAMES) and name not in SPLITS
        if other and _subfolders(osp.join(data_root, name)):
            raise DataError(
                f"{osp.join(data_root, name)}: folders of splits must be named "
                f"{', '.join(SPLITS)}. Rename it"
            )
    return splits or {"train": data_root}


def class_folders(folder: str) -> tuple[str, ...]:
    """List the class folders of a split.

    Args:
        folder (str): The folder of the split.

    Returns:
        tuple[str, ...]: Their sorted names.

    Raises:
        DataError: If there is none, or two names differ in case alone.
    """
    names = _subfolders(folder)
    if not names:
        loose = len(list(list_dir_or_file(folder, list_dir=False)))
        raise DataError(
            f"{folder} contains {loose} files and no class folder. Put the images of each class "
            "into a separate folder"
        )
    spelt: dict[str, str] = {}
    for name in names:
        twin = spelt.setdefault(name.casefold(), name)
        if twin != name:
            raise DataError(
                f"class folders {osp.join(folder, twin)} and {osp.join(folder, name)} differ only "
                "in case. Merge them, or rename one"
            )
    return names


def list_images(folder: str, extensions: Sequence[str] = EXTENSIONS) -> list[str]:
    """List the images of a class folder.

    Args:
        folder (str): The class folder.
        extensions (Sequence[str]): Endings of the files that are images, in lower case. Defaults
            to those that ``LoadImageFromFile`` reads.

    Returns:
        list[str]: Sorted names, relative to the folder, with ``/`` between folders.

    Raises:
        DataError: If there is none, or the images are in deeper folders only.
    """
    files = list_files(folder)
    ends = tuple(extensions)
    images = sorted(name for name in files if name.lower().endswith(ends))
    if not files:
        raise DataError(f"class folder {folder} is empty. Add images, or remove it")
    if not images:
        endings = Counter(osp.splitext(name)[1] or "no ending" for name in files)
        way_out = f"{BANDS_WAY_OUT}, or convert them" if ".npy" in endings else "convert them"
        raise DataError(
            f"class folder {folder} contains no image: expected {', '.join(ends)}, got "
            f"{len(files)} files with {', '.join(sorted(endings))}; {way_out}"
        )
    if all("/" in name for name in images):
        raise DataError(
            f"class folder {folder} contains folders instead of images. Set data_root to the "
            "parent of the class folders, or of train/, val/ and test/ with class folders in them"
        )
    return images


def _subfolders(folder: str) -> tuple[str, ...]:
    names = list_dir_or_file(folder, list_file=False)
    return tuple(sorted(name for name in names if not name.startswith(".")))


def _unknown_class(folder: str, name: str, classes: Sequence[str]) -> str:
    twin = next((known for known in classes if known.casefold() == name.casefold()), None)
    if twin is not None:
        return f"{folder}: the name differs from class {twin!r} only in case. Rename it"
    return (
        f"{folder}: unknown class {name!r}, expected one of {len(classes)} training classes "
        f"({', '.join(classes[:5])}{', ...' if len(classes) > 5 else ''}). Add training images of "
        "it, or remove this folder"
    )
