"""Load a model from its checkpoint, using the config that smallvit stores in it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope
from torch import nn

from smallvit.engine.bounded_build import build_stored
from smallvit.engine.checkpoint.fit import weights_of
from smallvit.engine.checkpoint.reading import are_trusted, read_checkpoint
from smallvit.engine.models import describe_model, fill, load_model
from smallvit.engine.stored_config import read_stored
from smallvit.errors import CheckpointError


def load_trained(
    checkpoint: str | os.PathLike,
    config: str | os.PathLike | Config | None = None,
    device: str | torch.device = "cpu",
) -> nn.Module:
    """Build the model of a checkpoint and load its weights.

    Args:
        checkpoint (str | os.PathLike): Path or URL. Checkpoints written by smallvit contain their
            config, in which only known types are accepted.
        config (str | os.PathLike | Config, optional): Config for other checkpoints. Defaults
            to None.
        device (str | torch.device): Device of the model. Defaults to "cpu".

    Returns:
        nn.Module: The model, see :func:`smallvit.engine.models.load_model`.

    Raises:
        CheckpointError: If the checkpoint is missing or damaged, or its config is missing or not
            allowed.
    """
    if config is not None:
        return load_model(config, checkpoint, device)
    name = os.fspath(checkpoint)
    content = read_checkpoint(name)
    if not isinstance(content, Mapping):
        raise CheckpointError(f"{name} contains no state dict")
    cfg = read_stored(content, name, trusted=are_trusted())
    if are_trusted():
        return load_model(cfg or _program(content, name), checkpoint, device)
    if cfg is None:
        raise CheckpointError(_without_config(content, name))
    model = build_stored(cfg, weights_of(content), name)
    init_default_scope(cfg.default_scope)  # the libraries look up transforms in this scope later
    fill(model, content, name)
    return describe_model(model, cfg, content).to(device)


def _program(content: Mapping[str, Any], name: str) -> Config:
    """The config that MMEngine writes into checkpoints as Python source."""
    meta = content.get("meta")
    text = meta.get("cfg") if isinstance(meta, Mapping) else None
    if not isinstance(text, str):
        raise CheckpointError(_without_config(content, name))
    return Config.fromstring(text, ".py")


def _without_config(content: Mapping[str, Any], name: str) -> str:
    meta = content.get("meta")
    there = isinstance(meta, Mapping) and isinstance(meta.get("cfg"), str) and not are_trusted()
    more = " (it contains one as code; --trust-checkpoint runs it)" if there else ""
    return (
        f"{name} contains no config as data, which smallvit stores in its checkpoints. Pass its "
        f"config with --config FILE{more}"
    )
