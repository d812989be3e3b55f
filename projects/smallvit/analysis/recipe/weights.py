"""What a training starts from: initial statistics and weight decay by kind of parameter."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from torch import nn


def build_network(cfg: Config, seed: int = 0) -> nn.Module:
    """Build the model of a config and initialize it as the Runner does before training.

    Weights that the config takes from a file are left out: they are not there before
    somebody trained them.

    Args:
        cfg (Config): A config.
        seed (int): Seed of the random weights. Defaults to 0.

    Returns:
        nn.Module: The model, in training mode.
    """
    settings = cfg.model.copy()
    if cfg.get("data_preprocessor") is not None:
        settings.setdefault("data_preprocessor", cfg.data_preprocessor)
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine"):
        model = MODELS.build(_without_files(settings))
        model.init_weights()
    return model.train()


def _without_files(node: Any) -> Any:
    if isinstance(node, dict):
        kept = {key: child for key, child in node.items() if not _is_file(key, child)}
        return type(node)({key: _without_files(child) for key, child in kept.items()})
    if isinstance(node, list):
        return [_without_files(child) for child in node]
    return node


def _is_file(key: str, child: Any) -> bool:
    return key == "init_cfg" and isinstance(child, dict) and child.get("type") == "Pretrained"


def kind_of(name: str) -> str:
    """Turn a parameter's name into its kind.

    Args:
        name (str): Such as ``backbone.layers.3.norm1.weight``.

    Returns:
        str: The name with digits as ``#``.
    """
    return re.sub(r"\d+", "#", name)


def describe_initialization(model: nn.Module) -> dict[str, dict[str, float]]:
    """Give statistics of the parameters, by kind.

    Args:
        model (nn.Module): The initialized model.

    Returns:
        dict: Mean, standard deviation and largest value of a kind, and the number of values.
    """
    kinds: dict[str, list[torch.Tensor]] = {}
    for name, parameter in model.named_parameters():
        kinds.setdefault(kind_of(name), []).append(parameter.detach())
    return {kind: statistics(tensors) for kind, tensors in kinds.items()}


def statistics(tensors: Iterable[torch.Tensor]) -> dict[str, float]:
    """Give statistics of all values of some tensors.

    Args:
        tensors (Iterable[torch.Tensor]): The tensors.

    Returns:
        dict: ``mean``, ``std``, ``max`` (of the absolute values) and ``n``.
    """
    values = torch.cat([tensor.reshape(-1).double() for tensor in tensors])
    return {
        "mean": values.mean().item(),
        "std": values.std(correction=0).item(),
        "max": values.abs().max().item(),
        "n": values.numel(),
    }


def describe_groups(cfg: Config, model: nn.Module) -> dict[str, dict[str, Any]]:
    """Make the optimizer and tell which kinds of parameters decay, and at which rate.

    Args:
        cfg (Config): The config of the model.
        model (nn.Module): The model.

    Returns:
        dict: Weight decay and learning rate by kind; a list where they differ within one.
    """
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine"):
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper.copy())
    groups = {
        id(parameter): group
        for group in wrapper.optimizer.param_groups
        for parameter in group["params"]
    }
    kinds: dict[str, set] = {}
    for name, parameter in model.named_parameters():
        group = groups.get(id(parameter))
        if group is not None:
            settings = group["weight_decay"], group["lr"]
            kinds.setdefault(kind_of(name), set()).add(settings)
    return {
        kind: {"decay": _one(decay), "rate": _one(rate)}
        for kind, found in kinds.items()
        for decay, rate in [zip(*sorted(found), strict=True)]
    }


def _one(values: Iterable[float]) -> Any:
    found = sorted(set(values))
    return found[0] if len(found) == 1 else found


def describe_modules(model: nn.Module) -> dict[str, Any]:
    """Count the norms, and list dropout and stochastic depth where they are in effect.

    Args:
        model (nn.Module): The model.

    Returns:
        dict: ``norms`` by class with their epsilon, ``dropout`` and ``stochastic depth`` as
        rates in the order of the modules.
    """
    norms: dict[str, int] = {}
    dropout, depth = [], []
    for module in model.modules():
        name = type(module).__name__
        if "Norm" in name and hasattr(module, "eps"):
            key = f"{name}, eps {module.eps:g}"
            norms[key] = norms.get(key, 0) + 1
        elif isinstance(module, nn.Dropout) and module.p > 0:
            dropout.append(module.p)
        elif "DropPath" in name and getattr(module, "drop_prob", 0):
            depth.append(round(module.drop_prob, 6))
    return {"norms": norms, "dropout": _runs(dropout), "stochastic depth": _runs(depth)}


def _runs(values: list[float]) -> dict[str, int]:
    """How often each value is there."""
    return {f"{value:g}": values.count(value) for value in dict.fromkeys(values)}
