"""Models from configs, with the weights of a checkpoint and what else it holds for them.

A module that keeps something in a checkpoint beside its weights has a method
``load_content(content)``; it is called with the whole checkpoint after the weights are loaded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, MODELS, init_default_scope
from mmengine.runner import load_state_dict
from torch import nn

from smallvit.compat.strict_loading import mismatch
from smallvit.engine.checkpoint.reading import read_checkpoint
from smallvit.engine.config_files import read_config
from smallvit.engine.folder import follow_folder
from smallvit.errors import CheckpointError
from smallvit.layers.attention_form import follow_form


def build_model(cfg: Config | dict, keep_sync_norms: bool = False) -> nn.Module:
    """Build the model of a config as the Runner does, with SyncBN reverted.

    Its attention takes the faster form, see :mod:`smallvit.layers.attention_form`.

    Types are looked up in the default scope that is in force.

    Args:
        cfg (Config | dict): A full config with a ``model``.
        keep_sync_norms (bool): Keep SyncBN, which runs on accelerators alone, to tell what the
            config asks for. Defaults to False.

    Returns:
        nn.Module: The model in evaluation mode, weights not initialized from files.
    """
    settings = cfg["model"].copy()
    if cfg.get("data_preprocessor") is not None:
        settings.setdefault("data_preprocessor", cfg["data_preprocessor"])
    model = MODELS.build(settings)
    if not keep_sync_norms:
        model = revert_sync_batchnorm(model)
    follow_form(model)
    model.eval()  # which some of the libraries' models do not return
    return model


def load_model(
    config: str | os.PathLike | Config,
    checkpoint: str | os.PathLike | None = None,
    device: str | torch.device = "cpu",
) -> nn.Module:
    """Build a model of any of the three tasks, with the weights of a checkpoint.

    The checkpoint is read as data: tensors and plain values, nothing that runs. It also
    gives the names of the classes, for a config of a folder of images their number, and the
    calibration of a cascade. The libraries' inferencers and ``inference_*`` functions take
    the model.

    Args:
        config (str | os.PathLike | Config): A config, or the path of one.
        checkpoint (str | os.PathLike, optional): File or address of the weights. Defaults
            to None: the model has those that its constructor gives it.
        device (str | torch.device): Where to put it. Defaults to "cpu".

    Returns:
        nn.Module: The model in evaluation mode; ``cfg`` is its config and ``dataset_meta``
        what is known of its classes.

    Raises:
        CheckpointError: If the checkpoint is missing, damaged, or of another model.
        UserError: If there is no such config.
    """
    cfg = config if isinstance(config, Config) else read_config(os.fspath(config))
    if cfg.get("fit_to_folder") is not None:
        cfg = follow_folder(cfg, checkpoint, with_data=False)
    # Not for the build alone: the libraries' functions look up transforms in it later.
    init_default_scope(cfg.get("default_scope") or "mmengine")
    model = build_model(cfg)
    content = {} if checkpoint is None else load_weights(model, checkpoint)
    return describe_model(model, cfg, content).to(device)


def describe_model(model: nn.Module, cfg: Config, content: Mapping[str, Any]) -> nn.Module:
    """Note a model's config and classes where the libraries' functions look for them.

    Args:
        model (nn.Module): The model.
        cfg (Config): Its config.
        content (Mapping): The checkpoint of its weights; empty if there is none.

    Returns:
        nn.Module: ``model``.
    """
    meta = _metainfo_of_checkpoint(content) or _metainfo_of_config(cfg)
    # The first two are what mmdet's and mmseg's functions read, the others MMPretrain's.
    model.cfg, model.dataset_meta = cfg, meta
    model._config, model._dataset_meta, model._metainfo = cfg, meta, None
    return model


def load_weights(model: nn.Module, checkpoint: str | os.PathLike) -> dict[str, Any]:
    """Give a model the weights of a checkpoint, which must fit, and what else it holds for it.

    Args:
        model (nn.Module): The model.
        checkpoint (str | os.PathLike): File or address.

    Returns:
        dict: The content of the checkpoint.

    Raises:
        CheckpointError: If it is missing, damaged, or of another model.
    """
    name = os.fspath(checkpoint)
    content = read_checkpoint(name)
    fill(model, content, name)
    return content


def fill(model: nn.Module, content: Mapping[str, Any], name: str) -> None:
    """Give a model what a checkpoint holds for it, which must fit.

    Args:
        model (nn.Module): The model.
        content (Mapping): The checkpoint.
        name (str): Its file, for errors.

    Raises:
        CheckpointError: If it is of another model.
    """
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{name} holds no weights by name")
    if state and all(str(key).startswith("module.") for key in state):
        state = {key.removeprefix("module."): value for key, value in state.items()}
    try:
        load_state_dict(model, state, strict=True)
    except RuntimeError as error:
        raise mismatch(name, error) from error
    for module in model.modules():
        if hasattr(module, "load_content"):
            module.load_content(content)


def _metainfo_of_checkpoint(content: Mapping[str, Any]) -> dict[str, Any]:
    meta = content.get("meta")
    found = meta.get("dataset_meta") if isinstance(meta, Mapping) else None
    if not isinstance(found, Mapping):
        return {}
    return {str(key).lower(): value for key, value in found.items()}


def _metainfo_of_config(cfg: Config) -> dict[str, Any]:
    """What the test data set says of its classes, without building it."""
    dataset = (cfg.get("test_dataloader") or {}).get("dataset") or {}
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    kind = dataset.get("type")
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    found = {**getattr(kind, "METAINFO", {}), **(dataset.get("metainfo") or {})}
    if dataset.get("classes") is not None:
        found["classes"] = dataset["classes"]
    return found
