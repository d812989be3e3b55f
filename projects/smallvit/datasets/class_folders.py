"""Custom image classification dataset with one folder per class."""

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
#: Hint on reading multi-band arrays, used in error messages.
BANDS_WAY_OUT = "arrays are read as bands: --channels N (smallvit.LoadImageBands in a config)"
#: Common names of split folders that are not supported.
OTHER_NAMES = ("training", "valid", "validation", "dev", "eval", "testing")


@DATASETS.register_module()
class ClassFolders(BaseDataset):
    """Image classification dataset with one folder per class, sorted by folder name.

    The data has one folder per split (left), or no split folders (right)::

        data_root                           data_root
        ├── train                           ├── cat
        │   ├── cat/*.jpg                   │   └── *.jpg
        │   └── dog/*.jpg                   └── dog
        ├── val                                 └── *.jpg
        │   └── ...
        └── test
            └── ...

    If there is no ``val`` folder, a fraction ``held_out`` of the training images of each class is
    held out for validation. If there is no ``test`` folder, ``val`` is used for testing. The
    held-out images depend only on ``seed`` and the file names: the images of a class are ordered
    by the SHA-256 hash of ``"{seed}/{name}"``, with ``name`` relative to the class folder and
    ``/`` as the path separator. The split is therefore reproducible across machines.

    A class folder may have subfolders if it also contains images directly. Hidden files and
    folders, with names starting with a dot, are ignored.

    Args:
        data_root (str): Root folder of the dataset.
        split (str): ``train``, ``val`` or ``test``. Defaults to ``'train'``.
        held_out (float): Fraction of each class to hold out if there is no ``val`` folder. At
            least one image is held out and at least one is kept. Defaults to 0.2.
        seed (int): Random seed for selecting the held-out images. Defaults to 0.
        listed (str, optional): File that lists the images of the split, one ``CLASS/NAME`` per
            line, relative to the folder of the training images. Other images are ignored.
            Defaults to None.
        extensions (Sequence[str]): Image file extensions in lower case. Defaults to those
            supported by ``LoadImageFromFile``.
        classes (Sequence[str], optional): Class names, if they are defined by another dataset
            folder. ``val`` and ``test`` may lack some of them. Defaults to None, which uses the
            class folders of the training images.
        pipeline (Sequence[dict | Callable]): Transforms or their configs. Defaults to ``()``.
        metainfo (dict, optional): Meta information that replaces the default one.
            Defaults to None, which sets ``classes`` to the class names.
        test_mode (bool): Whether to raise an error if a sample cannot be loaded, instead of
            loading another one. Defaults to False.
        **kwargs: Other arguments of :class:`mmpretrain.datasets.BaseDataset`.

    Raises:
        ValueError: If a setting is out of range.
        DataError: If a folder is missing, a class folder contains no images, folder names differ
            only in case, or ``val`` or ``test`` contains a class without training images.
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
        """Load the image paths and labels of the split.

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
        """Find the folder of the split and the part of its images that is used.

        Returns:
            tuple[str, str]: Path of the folder, and one of ``all``, ``kept``, ``held out`` and
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
            list[str]: Lines to include in ``repr``.
        """
        folder, part = self.source()
        return [f"Split: \t{self.split}", f"Folder: \t{folder} ({part})"]


def _native(name: str) -> str:
    return name if os.sep == "/" else name.replace("/", os.sep)


@lru_cache(maxsize=1024)
def _held_out(names: tuple[str, ...], part: float, seed: int) -> set[str]:
    """Cached version of :func:`choose_held_out`, shared by the training and validation splits."""
    return choose_held_out(names, part, seed)


def choose_held_out(names: Sequence[str], part: float, seed: int) -> set[str]:
    """Select the held-out images of a class; see :class:`ClassFolders`.

    Args:
        names (Sequence[str]): Image names.
        part (float): Fraction of the images to hold out.
        seed (int): Random seed.

    Returns:
        set[str]: Names of the held-out images. At least one image is held out, and at least one
        is kept unless there is only one.
    """
    count = max(1, min(round(part * len(names)), len(names) - 1))

    def rank(name: str) -> bytes:
        return hashlib.sha256(f"{seed}/{name}".encode()).digest()

    return set(sorted(names, key=rank)[:count])


def find_classes(data_root: str) -> tuple[str, ...]:
    """Find the classes of a dataset: the sorted names of the training class folders.

    Args:
        data_root (str): Root folder of the dataset; see :class:`ClassFolders` for its layout.

    Returns:
        tuple[str, ...]: At least two class names.

    Raises:
        DataError: If there are fewer than two classes, two folder names differ only in case, or
            ``data_root`` or its training folder is missing.
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
        data_root (str): Root folder of the dataset.

    Returns:
        dict[str, str]: Mapping from split names to existing folders. If there are no split
        folders, ``train`` is ``data_root``.

    Raises:
        DataError: If ``data_root`` does not exist, or a split folder has an unsupported name.
    """
    if not data_root or not isdir(data_root):
        raise DataError(
            f"folder {data_root or '(empty)'} does not exist. Set data_root to the folder with the "
            "class folders (--cfg-options data_root=/path/to/images)"
        )
    names = _subfolders(data_root)
    splits = {name: osp.join(data_root, name) for name in SPLITS if name in names}
    # A folder named "train" may also be a class (pictures of trains).
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
        folder (str): Path of the split folder.

    Returns:
        tuple[str, ...]: Sorted names of the class folders.

    Raises:
        DataError: If there are no class folders, or two names differ only in case.
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
        folder (str): Path of the class folder.
        extensions (Sequence[str]): Image file extensions in lower case. Defaults to those
            supported by ``LoadImageFromFile``.

    Returns:
        list[str]: Sorted paths relative to ``folder``, with ``/`` as the separator.

    Raises:
        DataError: If there are no images, or all images are in subfolders.
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
