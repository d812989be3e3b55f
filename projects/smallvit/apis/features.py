"""Extract backbone features of the images of a folder or dataset."""

from __future__ import annotations

import csv
import io
import os
import os.path as osp
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from smallvit.apis.predicting import BROKEN
from smallvit.apis.predictor import Predictor
from smallvit.apis.sources import IMAGES, find_items
from smallvit.datasets.class_folders import SPLITS, class_folders, list_images, split_folders
from smallvit.datasets.recognition.folders import count_class_folders
from smallvit.engine.predictions import labels_of
from smallvit.errors import UserError
from smallvit.utils.files import whole_file, write_whole

#: Order in which splits are searched if none is given.
FIRST = ("test", "val", "train")


@dataclass(frozen=True)
class Example:
    """Image with an optional label.

    Args:
        name (str): Path of the image, or its index in the dataset.
        image (Any): Argument for :meth:`Predictor.read`.
        label (int, optional): Index of the class. Defaults to None, without a class.
    """

    name: str
    image: Any
    label: int | None = None


@dataclass(frozen=True)
class Examples:
    """Images to compute features of.

    Args:
        what (str): Description of the source.
        examples (list[Example]): Images with optional labels.
        classes (tuple[str, ...]): Class names; empty without labels. Defaults to ().
    """

    what: str
    examples: list[Example]
    classes: tuple[str, ...] = ()

    def at_most(self, count: int, seed: int) -> Examples:
        """Select a random subset.

        Args:
            count (int): Maximum number of images.
            seed (int): Random seed.

        Returns:
            Examples: Subset in the original order.
        """
        if len(self.examples) <= count:
            return self
        chosen = np.random.RandomState(seed).permutation(len(self.examples))[:count]
        kept = [self.examples[number] for number in sorted(chosen.tolist())]
        return Examples(self.what, kept, self.classes)


@dataclass
class FeatureTable:
    """Features of images.

    Args:
        examples (list[Example]): Images that could be read.
        vectors (np.ndarray): Feature vectors, float32 (N, C).
        classes (tuple[str, ...]): Class names; empty without labels.
        broken (dict[str, str]): Error message of each image that could not be read, by name.
    """

    examples: list[Example]
    vectors: np.ndarray
    classes: tuple[str, ...] = ()
    broken: dict[str, str] = field(default_factory=dict)

    @property
    def labels(self) -> np.ndarray | None:
        """np.ndarray | None: Class of each image, (N, ); None without labels."""
        if not self.classes:
            return None
        return np.array([one.label for one in self.examples], dtype=np.int64)


def find_folder(
    folder: str, split: str | None = None, endings: tuple[str, ...] = IMAGES
) -> Examples:
    """Find the images of a folder, and their classes if it holds class folders.

    Args:
        folder (str): Folder of class folders, with or without ``train``, ``val`` and ``test``; or
            any folder, file or pattern of images, which are then without classes.
        split (str, optional): Split of a folder with splits. Defaults to None: the first
            of test, val and train that exists.
        endings (tuple[str, ...]): Endings of images. Defaults to those of photographs.

    Returns:
        Examples: Images, with labels if there are class folders.

    Raises:
        UserError: If the folder or split does not exist.
    """
    if not osp.isdir(folder) or count_class_folders(folder, endings) < 2:
        if split is not None:
            raise UserError(f"--split {split}: {folder} contains no splits with class folders")
        items = find_items([folder], "", endings=endings)
        return Examples(folder, [Example(item.name, item.origin) for item in items])
    folders = split_folders(folder)
    if split is not None and (split not in folders or list(folders.values()) == [folder]):
        there = ", ".join(folders) if list(folders.values()) != [folder] else "none"
        raise UserError(f"--split {split}: expected a split of {folder} ({there})")
    split = split or next(one for one in FIRST if one in folders)
    classes = class_folders(folders[split])
    examples = [
        Example(f"{name}/{image}", osp.join(folders[split], name, image), label)
        for label, name in enumerate(classes)
        for image in list_images(osp.join(folders[split], name), endings)
    ]
    return Examples(folders[split], examples, classes)


def find_data(cfg: Config, split: str) -> Examples:
    """Find the images of a config's dataset.

    Args:
        cfg (Config): Config with data loaders.
        split (str): ``train``, ``val`` or ``test``.

    Returns:
        Examples: Images, with labels if each image has exactly one.

    Raises:
        UserError: If the config has no data loader for the split.
    """
    loader = cfg.get(f"{split}_dataloader")
    if loader is None:
        there = [name for name in SPLITS if cfg.get(f"{name}_dataloader")]
        raise UserError(
            f"--split {split}: expected a split of the config ({', '.join(there) or 'none'})"
        )
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine"):
        dataset = DATASETS.build(loader.dataset)
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    examples = [_of_info(info, index) for index, info in enumerate(infos)]
    classes = tuple(map(str, dataset.metainfo.get("classes") or ()))
    if not classes or any(one.label is None for one in examples):
        classes = ()
    return Examples(f"{split} of {type(dataset).__name__}", examples, classes)


def _of_info(info: dict[str, Any], index: int) -> Example:
    labels = labels_of(info["gt_label"]) if "gt_label" in info else ()
    label = int(labels[0]) if len(labels) == 1 else None
    if isinstance(info.get("img"), np.ndarray):
        return Example(f"image {index}", info["img"], label)
    return Example(str(info["img_path"]), info["img_path"], label)


def compute(
    predictor: Predictor, found: Examples, told: Callable[[int], None] = lambda done: None
) -> FeatureTable:
    """Extract the features of images; images that cannot be read are recorded and skipped.

    Args:
        predictor (Predictor): Predictor whose backbone is used.
        found (Examples): Images to process.
        told (Callable): Callback that receives the number of processed images after each batch.

    Returns:
        FeatureTable: Features of the images that could be read.

    Raises:
        UserError: If no image can be read.
    """
    kept: list[Example] = []
    vectors: list[np.ndarray] = []
    broken: dict[str, str] = {}
    for batch in _batches(found.examples, predictor.batch_size):
        images = list(_read(predictor, batch, broken))
        if images:
            kept += [example for example, _ in images]
            vectors.append(predictor.features([image for _, image in images]))
        told(len(kept) + len(broken))
    if not kept:
        reason = next(iter(broken.items()), None)
        raise UserError(
            f"{found.what}: no image can be read" + (f" ({reason[1]})" if reason else "")
        )
    return FeatureTable(kept, np.concatenate(vectors), found.classes, broken)


def _batches(examples: Sequence[Example], size: int) -> Iterator[Sequence[Example]]:
    for start in range(0, len(examples), size):
        yield examples[start : start + size]


def _read(
    predictor: Predictor, batch: Sequence[Example], broken: dict[str, str]
) -> Iterator[tuple[Example, np.ndarray]]:
    for example in batch:
        try:
            yield example, predictor.read(example.image)
        except BROKEN as error:
            broken[example.name] = str(error)


def save_features(path: str | os.PathLike, table: FeatureTable, points: np.ndarray) -> None:
    """Write features to a file.

    Args:
        path (str | os.PathLike): Path of a .npz file with ``features``, ``map``, ``names``,
            ``labels`` (-1: none) and ``classes``, or of a .csv file with one row per image.
        table (FeatureTable): Features to write.
        points (np.ndarray): 2D embedding of the features, (N, 2).
    """
    path, labels = os.fspath(path), table.labels
    names = [one.name for one in table.examples]
    if path.endswith(".npz"):
        arrays: dict[str, Any] = {
            "features": table.vectors,
            "map": points,
            "names": np.array(names),
            "labels": np.full(len(names), -1) if labels is None else labels,
            "classes": np.array(table.classes, dtype=np.str_),
        }
        with whole_file(path) as temporary, open(temporary, "wb") as file:
            np.savez_compressed(file, **arrays)
        return
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["image", "class", "x", "y", *(f"f{i}" for i in range(table.vectors.shape[1]))])
    for number, name in enumerate(names):
        kind = "" if labels is None else table.classes[labels[number]]
        values = (f"{value:.7g}" for value in table.vectors[number])
        rows.writerow([name, kind, *(f"{value:.5g}" for value in points[number]), *values])
    write_whole(path, text.getvalue())
