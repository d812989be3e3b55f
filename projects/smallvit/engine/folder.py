"""Adapt a config to custom data: datasets, heads and metrics."""

from __future__ import annotations

import os.path as osp
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

from mmengine.config import Config, ConfigDict
from mmengine.logging import print_log

from smallvit.datasets.in_memory.settings import kind_of
from smallvit.engine.dense_folder import fit_datasets, own_data
from smallvit.engine.model_settings import set_classes
from smallvit.errors import CheckpointError, DataError, UserError
from smallvit.utils.configs import walk

DATASET = "ClassFolders"
#: Settings that decide which images are held out.
SPLIT_SETTINGS = ("held_out", "seed")
EVALUATORS = ("val_evaluator", "test_evaluator")


def fit_to_folder(cfg: Config, checkpoint: str | None = None) -> None:
    """Adapt a config with ``fit_to_folder`` to its ``data_root``; ignore all others.

    Every :class:`smallvit.datasets.ClassFolders` without its own folder reads the config's
    ``data_root``. Heads and data preprocessors get the number of its classes, or of the classes
    that the checkpoint was trained with. ``held_out`` and ``seed`` of one dataset apply to all.
    Top-k accuracies are removed for k >= the number of classes. Detection datasets likewise
    follow ``data_root`` and the categories of the training file, and segmentation datasets
    ``data_root`` and the classes of the training dataset.

    Args:
        cfg (Config): The config after all overrides, changed in place. ``fit_to_folder``
            records the folder, so that a dumped config can be adapted to another one.
        checkpoint (str, optional): Checkpoint to be tested, whose stored class names take
            precedence. Defaults to None.

    Raises:
        UserError: If the folder is missing, or its class folders are invalid.
    """
    fitted = cfg.get("fit_to_folder")
    if fitted is None:
        return
    root = _data_root(cfg)
    kind = own_data(cfg)
    if kind is not None:
        classes = fit_datasets(cfg, kind, root, _stored_classes(checkpoint))
        cfg.fit_to_folder = ConfigDict(data_root=root, classes=classes)
        set_classes(cfg, len(classes))
        return
    datasets = list(_folder_datasets(cfg))
    for dataset in datasets:
        for key, value in fitted.items():
            if dataset.get(key) == value:
                dataset.pop(key)
        dataset.setdefault("data_root", root)
    for key in SPLIT_SETTINGS:
        _share(key, datasets)
    classes = _stored_classes(checkpoint)
    if classes is not None:
        for dataset in datasets:
            dataset.setdefault("classes", classes)
    classes = classes or _find_classes(datasets)
    cfg.fit_to_folder = ConfigDict(data_root=root, classes=classes)
    set_classes(cfg, len(classes))
    _limit_topk(cfg, len(classes))


def follow_folder(
    cfg: Config | dict, checkpoint: str | None = None, with_data: bool = True
) -> Config:
    """Return an adapted copy of a config that is about to be built; see :func:`fit_to_folder`.

    If its classes came from a checkpoint, they are kept.

    Args:
        cfg (Config | dict): The config, with ``fit_to_folder``; it is not changed.
        checkpoint (str, optional): Checkpoint of the model's weights. Defaults to None.
        with_data (bool): Whether datasets are built as well. If False, a missing folder is
            only a warning, and the model uses the classes in the config. Defaults to
            True.

    Returns:
        Config: The fitted copy.

    Raises:
        UserError: If the folder is missing, or its class folders are invalid.
    """
    fitted = deepcopy(cfg) if isinstance(cfg, Config) else Config(deepcopy(cfg))
    if checkpoint is None and _has_classes_of_checkpoint(fitted):
        return fitted
    try:
        fit_to_folder(fitted, checkpoint)
    except (DataError, UserError) as error:
        if with_data:
            raise
        print_log(f"using the classes of the config: {error}", "current", 30)
        return cfg
    return fitted


def _has_classes_of_checkpoint(cfg: Config) -> bool:
    fitted = cfg.fit_to_folder
    if own_data(cfg) is not None:
        return bool(fitted.get("classes")) and fitted.get("data_root") == cfg.get("data_root")
    return fitted.get("data_root") == cfg.get("data_root") and any(
        dataset.get("classes") is not None and dataset.classes == fitted.get("classes")
        for dataset in _folder_datasets(cfg)
    )


def _data_root(cfg: Config) -> str:
    root = cfg.get("data_root")
    if not isinstance(root, str):
        raise UserError(
            f"expected data_root to be a folder, got {root!r}. A name with a comma must be set in "
            "a config file, because MMEngine splits values of --cfg-options at commas"
        )
    return osp.expanduser(root)


def _folder_datasets(cfg: Config) -> Iterator[ConfigDict]:
    for _, node in walk(cfg):
        kind = kind_of(node) if hasattr(node, "get") else None
        if isinstance(kind, str) and kind.rpartition(".")[2] == DATASET:
            yield node


def _share(key: str, datasets: list[ConfigDict]) -> None:
    """Share a setting among datasets, as training and validation images must not overlap."""
    given = {dataset[key] for dataset in datasets if key in dataset}
    if len(given) > 1:
        raise UserError(
            f"{key} is {' and '.join(map(str, sorted(given)))} in the data loaders. Set it only in "
            f"train_dataloader.dataset.{key}, which the others follow"
        )
    for dataset in datasets if given else ():
        dataset[key] = min(given)


def _stored_classes(checkpoint: str | None) -> list[str] | None:
    if checkpoint is None:
        return None
    from smallvit.engine.checkpoint.reading import read_checkpoint

    meta = read_checkpoint(checkpoint).get("meta") or {}
    described = meta.get("dataset_meta") or {}
    classes = described.get("classes") if isinstance(described, Mapping) else described
    if classes is None:
        return None
    if not isinstance(classes, (list, tuple)) or not all(isinstance(one, str) for one in classes):
        raise CheckpointError(f"{checkpoint}: expected the stored classes to be a list of names")
    return list(classes)


def _find_classes(datasets: list[ConfigDict]) -> list[str]:
    from smallvit.datasets.class_folders import find_classes

    trained = next((each for each in datasets if each.get("split", "train") == "train"), None)
    if trained is None:
        raise UserError(f"fit_to_folder is set, but no {DATASET} in the config reads split='train'")
    if trained.get("classes") is not None:
        return list(trained.classes)
    return list(find_classes(trained.data_root))


def _limit_topk(cfg: Config, count: int) -> None:
    for _, node in walk({key: cfg.get(key) for key in EVALUATORS}):
        topk: Any = node.get("topk") if hasattr(node, "get") else None
        if isinstance(topk, (list, tuple)):
            node.topk = tuple(k for k in topk if k == 1 or k < count)
