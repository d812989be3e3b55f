"""Checks of label maps for missing files and the classes they contain."""

from __future__ import annotations

import os
import os.path as osp
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import mmengine.fileio as fileio
import numpy as np
import torch

from smallvit.datasets.image_checks import loaded_shape
from smallvit.datasets.label_maps import IGNORED, LoadLabelMap, size_fault
from smallvit.datasets.parts import pipelines_of
from smallvit.errors import DataError, ImageError
from smallvit.utils.text import join_names

#: Number of evenly spaced label maps to check before a run, and time limit in seconds.
LOOKED_AT = 24
SECONDS = 0.4


@dataclass
class MapsSeen:
    """Content of the checked label maps.

    Args:
        images (int): Number of images in the dataset.
        classes (Sequence[str]): Class names in the order of their labels.
        looked_at (int): Number of label maps read.
        containing (Counter): Number of label maps that contain each class index.
        ignored (int): Number of label maps with pixels that belong to no class.
        missing (list[str]): Paths of missing label maps.
        faults (list[str]): Defects of label maps, each with a fix.
    """

    images: int
    classes: Sequence[str]
    looked_at: int = 0
    containing: Counter = field(default_factory=Counter)
    ignored: int = 0
    missing: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, present: Sequence[int]) -> None:
        """Update the counts with a label map.

        Args:
            present (Sequence[int]): Labels that occur in the label map.
        """
        self.looked_at += 1
        self.ignored += IGNORED in present
        self.containing.update(one for one in present if one < len(self.classes))

    @property
    def counts(self) -> dict[str, int]:
        """dict[str, int]: Number of label maps that contain each class."""
        return {name: self.containing[number] for number, name in enumerate(self.classes)}

    @property
    def complete(self) -> bool:
        """bool: Whether all label maps were checked."""
        return self.looked_at == self.images

    def lone_class(self) -> str | None:
        """Report label maps with at most one class, such as binary masks with 255 as foreground.

        Returns:
            str | None: Description of the problem and how to fix it, or None if it does not
            occur.
        """
        few = len(self.containing) < 2 <= len(self.classes)
        if not few or self.looked_at < 2 or 2 * self.ignored <= self.looked_at:
            return None
        there = [self.classes[number] for number in self.containing]
        never = join_names([name for name in self.classes if name not in there])
        held = f"no class other than {join_names(there)}" if there else "no class"
        return (
            f"{self.looked_at} sampled label maps contain {held}; all other pixels are {IGNORED}, "
            f"which is ignored, so {never} never occurs. If 255 is a class, replace "
            "LoadAnnotations with "
            f"dict(type='smallvit.LoadLabelMap', label_map={{255: {len(self.classes) - 1}}})"
        )


def reads_label_maps(dataset: Any) -> bool:
    """Check whether a dataset is a semantic segmentation dataset.

    Args:
        dataset (Dataset): Dataset of any MM library.

    Returns:
        bool: Whether samples have label maps in MMSegmentation's format.
    """
    return hasattr(dataset, "seg_map_suffix") and hasattr(dataset, "reduce_zero_label")


def loader_of_maps(dataset: Any) -> LoadLabelMap | None:
    """Get the transform that loads and validates the label maps of a dataset.

    MMSegmentation's ``LoadAnnotations`` is replaced by :class:`LoadLabelMap` in the pipeline.

    Args:
        dataset (Dataset): Segmentation dataset with a ``pipeline`` attribute.

    Returns:
        LoadLabelMap | None: Loading transform, or None if the pipeline does not load label maps.
    """
    for pipeline in pipelines_of(dataset):
        for place, transform in enumerate(pipeline.transforms):
            kind = type(transform)
            if kind.__name__ == "LoadAnnotations" and kind.__module__.startswith("mmseg."):
                pipeline.transforms[place] = LoadLabelMap.like(transform)
            if isinstance(pipeline.transforms[place], LoadLabelMap):
                return pipeline.transforms[place]
    return None


def check_maps_of(dataset: Any, ignored: Sequence[int] = ()) -> LoadLabelMap | None:
    """Enable validation of label maps on loading, and recording of the classes that occur.

    Args:
        dataset (Dataset): Segmentation dataset with a ``pipeline`` attribute.
        ignored (Sequence[int]): Label values other than 255 that are ignored by the losses of the
            model. Defaults to ().

    Returns:
        LoadLabelMap | None: Loading transform, with a ``seen`` tensor shared by all worker
        processes, or None if the pipeline does not load label maps.
    """
    loader = loader_of_maps(dataset)
    classes = (getattr(dataset, "metainfo", None) or {}).get("classes")
    if loader is None or not classes or isinstance(classes, str):
        return loader
    own = getattr(dataset, "ignore_index", IGNORED)
    loader.classes, loader.ignored = tuple(classes), (IGNORED, own, *ignored)
    if loader.seen is None:
        loader.seen = torch.zeros(256, dtype=torch.uint8).share_memory_()
    return loader


def look_at_maps(dataset: Any, limit: int = LOOKED_AT, seconds: float = SECONDS) -> MapsSeen | None:
    """Check a limited number of evenly spaced label maps of a dataset.

    Args:
        dataset (Dataset): Segmentation dataset; see :func:`check_maps_of`.
        limit (int): Maximum number of label maps. Defaults to 24.
        seconds (float): Time limit in seconds. Defaults to 0.4.

    Returns:
        MapsSeen | None: Content of the checked label maps, or None if the pipeline does not load
        label maps.
    """
    loader = loader_of_maps(dataset)
    if loader is None:
        return None
    seen = MapsSeen(len(dataset), loader.classes or ())
    if len(dataset) and "seg_map_path" not in dataset.get_data_info(0):
        seen.faults.append(
            "the pipeline loads label maps, but the dataset has no folder of them. Set "
            "data_prefix=dict(img_path=..., seg_map_path=...)"
        )
        return seen
    seen.missing = list(_missing(dataset))
    began = time.monotonic()
    count = min(limit, len(dataset))
    for number in range(count):
        info = dataset.get_data_info(number * len(dataset) // count)
        if info["seg_map_path"] not in seen.missing:
            _look(dataset, loader, info, seen)
        if time.monotonic() - began > seconds:
            break
    return seen


def _look(dataset: Any, loader: LoadLabelMap, info: dict, seen: MapsSeen) -> None:
    path = info["seg_map_path"]
    try:
        labels = loader.labels(fileio.get(path, backend_args=loader.backend_args), info)
    except DataError as error:
        seen.faults.append(str(error))
        return
    except (ImageError, OSError):
        return  # training replaces unreadable samples, up to a limit
    size = loaded_shape(dataset, info)
    if size is not None and size != labels.shape:
        seen.faults.append(size_fault(path, labels.shape, info["img_path"], size))
    seen.add(np.unique(labels).tolist())


def _missing(dataset: Any) -> Iterator[str]:
    """Find missing label maps by listing their folders."""
    names: dict[str, set[str] | None] = {}
    for index in range(len(dataset)):
        path = dataset.get_data_info(index)["seg_map_path"]
        folder, name = osp.split(path)
        if folder not in names:
            names[folder] = set(os.listdir(folder)) if osp.isdir(folder) else None
        known = names[folder]
        if (known is None or name not in known) and "://" not in path:
            yield path
