"""Adapt a config to custom detection or segmentation data: datasets, heads and metrics."""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterator
from typing import Any

from mmengine.config import Config, ConfigDict

from smallvit.errors import DataError, UserError
from smallvit.utils.configs import walk

#: Dataset types for custom data, by task.
OBJECTS, MAPS = "CocoDataset", "LabelMaps"
LOADERS = ("train", "val", "test")


def dense_datasets(cfg: Config, kind: str) -> Iterator[ConfigDict]:
    """Find the datasets of a type in a config.

    Args:
        cfg (Config): The config to search.
        kind (str): ``CocoDataset`` or ``LabelMaps``.

    Yields:
        ConfigDict: The config of each dataset.
    """
    for _, node in walk({f"{name}_dataloader": cfg.get(f"{name}_dataloader") for name in LOADERS}):
        found = node.get("type") if hasattr(node, "get") else None
        if isinstance(found, str) and found.rpartition(".")[2] == kind:
            yield node


def own_data(cfg: Config) -> str | None:
    """Determine the dataset type of a config for custom data.

    Args:
        cfg (Config): The config to search.

    Returns:
        str | None: ``CocoDataset`` or ``LabelMaps``; None for class folders.
    """
    kinds = (kind for kind in (OBJECTS, MAPS) if next(dense_datasets(cfg, kind), None) is not None)
    return next(kinds, None)


def fit_datasets(cfg: Config, kind: str, root: str, classes: list[str] | None) -> list[str]:
    """Set data folder and classes of all datasets and metrics from the training data.

    Args:
        cfg (Config): The config, changed in place. Values from an earlier fit are replaced.
        kind (str): Type of the datasets.
        root (str): The data folder.
        classes (list[str], optional): Classes of a checkpoint. Defaults to None.

    Returns:
        list[str]: Class names in the order of the labels.

    Raises:
        DataError: If a file is missing or has no classes.
        UserError: If no source defines the classes.
    """
    fitted, datasets = cfg.fit_to_folder, list(dense_datasets(cfg, kind))
    for dataset in datasets:
        if dataset.get("data_root") in (None, fitted.get("data_root")):
            dataset.data_root = root
        found = tuple(fitted.get("classes") or ())
        if kind == OBJECTS and found and tuple(_said(dataset) or ()) == found:
            dataset.metainfo.pop("classes")
    trained = next(dense_datasets_of(cfg, "train", kind), datasets[0])
    classes = classes or _said(trained) or _found(trained, kind)
    for dataset in datasets:
        dataset.metainfo = ConfigDict(dataset.get("metainfo") or {}, classes=tuple(classes))
    if kind == OBJECTS:
        _fit_metrics(cfg, fitted.get("data_root"))
    return list(classes)


def dense_datasets_of(cfg: Config, split: str, kind: str) -> Iterator[ConfigDict]:
    """Find the datasets of a loader; see :func:`dense_datasets`."""
    return dense_datasets(Config({f"{split}_dataloader": cfg.get(f"{split}_dataloader")}), kind)


def _said(dataset: ConfigDict) -> tuple[str, ...] | None:
    return (dataset.get("metainfo") or {}).get("classes")


def _found(dataset: ConfigDict, kind: str) -> list[str]:
    if kind == MAPS:
        raise UserError(
            "label maps contain no class names. Set train_dataloader.dataset.metainfo="
            "dict(classes=(...)) in the order of the labels"
        )
    from smallvit.datasets.checks import read_json

    path = osp.join(dataset.data_root, dataset.ann_file)
    if not osp.isfile(path):
        raise DataError(
            f"annotation file {path} does not exist. Set data_root, and ann_file of the datasets"
        )
    content = read_json(path)
    listed = content.get("categories") if isinstance(content, dict) else None
    names = [one.get("name") for one in listed or () if isinstance(one, dict)]
    if not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"annotation file {path} contains no classes ('categories')")
    return names


def _fit_metrics(cfg: Config, before: str | None) -> None:
    for split in ("val", "test"):
        dataset = next(dense_datasets_of(cfg, split, OBJECTS), None)
        evaluators: Any = cfg.get(f"{split}_evaluator")
        for one in evaluators if isinstance(evaluators, list) else [evaluators]:
            kind = str((one or {}).get("type")).rpartition(".")[2]
            if dataset is None or kind != "CocoMetric":
                continue
            if one.get("ann_file") in (None, osp.join(before or "", dataset.ann_file)):
                one.ann_file = osp.join(dataset.data_root, dataset.ann_file)
