"""Build models from configs and load checkpoints into them.

A module that stores more than its weights in a checkpoint defines ``load_content(content)``, which
is called with the whole checkpoint after the weights are loaded.
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
from smallvit.layers.attention_form import use_faster_attention


def build_model(cfg: Config | dict, keep_sync_norms: bool = False) -> nn.Module:
    """Build the model of a config as the Runner does, with SyncBN reverted.

    Attention uses the faster implementation, see :mod:`smallvit.layers.attention_form`. Types are
    looked up in the current default scope.

    Args:
        cfg (Config | dict): A full config with a ``model``.
        keep_sync_norms (bool): Whether to keep SyncBN, which runs on accelerators only, to inspect
            the model of the config. Defaults to False.

    Returns:
        nn.Module: The model in evaluation mode, weights not initialized from files.
    """
    settings = cfg["model"].copy()
    if cfg.get("data_preprocessor") is not None:
        settings.setdefault("data_preprocessor", cfg["data_preprocessor"])
    model = MODELS.build(settings)
    if not keep_sync_norms:
        model = revert_sync_batchnorm(model)
    use_faster_attention(model)
    model.eval()  # its return value is not used, as some models of the libraries return None
    return model


def load_model(
    config: str | os.PathLike | Config,
    checkpoint: str | os.PathLike | None = None,
    device: str | torch.device = "cpu",
) -> nn.Module:
    """Build a model of any of the three tasks, with the weights of a checkpoint.

    The checkpoint is read without running code: only tensors and plain values are accepted. It
    also provides the class names, their number for a config that follows an image folder, and
    the calibration of a cascade. The model can be passed to the libraries' inferencers and
    ``inference_*`` functions.

    Args:
        config (str | os.PathLike | Config): A config, or the path of one.
        checkpoint (str | os.PathLike, optional): Path or URL of the weights. Defaults
            to None: the model keeps its initial weights.
        device (str | torch.device): Device of the model. Defaults to "cpu".

    Returns:
        nn.Module: The model in evaluation mode; ``cfg`` is its config, and ``dataset_meta``
        holds its classes if they are known.

    Raises:
        CheckpointError: If the checkpoint is missing, damaged, or of another model.
        UserError: If there is no such config.
    """
    cfg = config if isinstance(config, Config) else read_config(os.fspath(config))
    if cfg.get("fit_to_folder") is not None:
        cfg = follow_folder(cfg, checkpoint, with_data=False)
    # Set permanently: the libraries' functions look up transforms in this scope later.
    init_default_scope(cfg.get("default_scope") or "mmengine")
    model = build_model(cfg)
    content = {} if checkpoint is None else load_weights(model, checkpoint)
    return describe_model(model, cfg, content).to(device)


def describe_model(model: nn.Module, cfg: Config, content: Mapping[str, Any]) -> nn.Module:
    """Attach config and classes to a model, where the libraries' functions look for them.

    Args:
        model (nn.Module): The model that gets the attributes.
        cfg (Config): Config that the model was built from.
        content (Mapping): The checkpoint of its weights; empty if there is none.

    Returns:
        nn.Module: ``model``.
    """
    meta = _metainfo_of_checkpoint(content) or _metainfo_of_config(cfg)
    # mmdet and mmseg read the first two, MMPretrain the others.
    model.cfg, model.dataset_meta = cfg, meta
    model._config, model._dataset_meta, model._metainfo = cfg, meta, None
    return model


def load_weights(model: nn.Module, checkpoint: str | os.PathLike) -> dict[str, Any]:
    """Load a checkpoint that must fit into a model, with its additional content.

    Args:
        model (nn.Module): The model, whose weights are replaced.
        checkpoint (str | os.PathLike): Path or URL of the checkpoint.

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
    """Load the content of a checkpoint, which must fit, into a model.

    Args:
        model (nn.Module): The model, whose weights are replaced.
        content (Mapping): The content of the checkpoint.
        name (str): Path of the checkpoint, for errors.

    Raises:
        CheckpointError: If it is a checkpoint of another model.
    """
    state = content.get("state_dict", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise CheckpointError(f"{name} contains no state dict")
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
    """Class metadata of the test dataset, without building it."""
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
