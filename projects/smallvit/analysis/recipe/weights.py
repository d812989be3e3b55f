"""Initial weight statistics and weight decay of a recipe, by kind of parameter."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DefaultScope
from torch import nn

from smallvit.analysis.recipe.names import kind_of, named_tensors
from smallvit.engine.models import build_model

#: Number of standard deviations above which a value is an outlier: PyTorch's truncated normal
#: returns its bounds, 2 at a standard deviation of 0.02, about once in a million values.
OUTLIER = 20


def build_network(cfg: Config, seed: int = 0) -> nn.Module:
    """Build the model of a config and initialize it as the Runner does before training.

    Weights from files are not loaded, because the files may not exist yet.

    Args:
        cfg (Config): Resolved training config.
        seed (int): Seed of the random weights. Defaults to 0.

    Returns:
        nn.Module: Model in training mode.
    """
    parts = {"model": _without_files(cfg.model), "data_preprocessor": cfg.get("data_preprocessor")}
    torch.manual_seed(seed)
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine"):
        model = build_model(parts, keep_sync_norms=True)
        if hasattr(model, "guidance"):  # the weights of its teacher are in a file
            model.guidance.load_teacher = lambda: None
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
    if key == "init_cfg":
        return isinstance(child, dict) and child.get("type") == "Pretrained"
    return key == "store"  # precomputed features of a teacher


def describe_initialization(model: nn.Module, system: str | None = None) -> dict[str, dict]:
    """Compute statistics of the parameters, by kind.

    Args:
        model (nn.Module): Initialized model.
        system (str, optional): System whose official names are used, if its converter supports the
            model. Defaults to None.

    Returns:
        dict[str, dict]: Number of tensors and values, mean, standard deviation and maximum absolute
        value of each kind.
    """
    kinds: dict[str, list[torch.Tensor]] = {}
    for name, tensor in named_tensors(model, system).items():
        kinds.setdefault(kind_of(name, tensor.value), []).append(tensor.value)
    return {kind: statistics(tensors) for kind, tensors in kinds.items()}


def statistics(tensors: Iterable[torch.Tensor]) -> dict[str, float]:
    """Compute statistics over all values of some tensors.

    Args:
        tensors (Iterable[torch.Tensor]): Initialized weights.

    Returns:
        dict[str, float]: ``tensors``, ``n`` (number of values), ``mean``, ``std`` and ``max`` (of
        absolute values) without outliers, and ``outliers``, their number.
    """
    tensors = list(tensors)
    values = torch.cat([tensor.detach().reshape(-1).double() for tensor in tensors])
    count = values.numel()
    std, mean = torch.std_mean(values, correction=0)
    if values.abs().max() > OUTLIER * std > 0:
        values = values[(values - mean).abs() < OUTLIER * std]
        std, mean = torch.std_mean(values, correction=0)
    return {
        "tensors": len(tensors),
        "n": count,
        "mean": mean.item(),
        "std": std.item(),
        "max": values.abs().max().item(),
        "outliers": count - values.numel(),
    }


def describe_groups(
    cfg: Config, model: nn.Module, system: str | None = None
) -> dict[str, dict[str, Any]]:
    """Build the optimizer and report the weight decay and learning rate of each kind.

    Args:
        cfg (Config): Config of the model.
        model (nn.Module): Network to optimize.
        system (str, optional): See :func:`describe_initialization`. Defaults to None.

    Returns:
        dict[str, dict[str, Any]]: Weight decay and learning rate by kind, a list if they differ
        within a kind; None for frozen parameters.
    """
    settings = optimizer_settings(cfg, model)
    kinds: dict[str, set] = {}
    for name, tensor in named_tensors(model, system).items():
        found = {settings.get(source, (None, None)) for source in tensor.sources}
        kinds.setdefault(kind_of(name, tensor.value), set()).update(found)
    return {
        kind: {"decay": _one(decay), "rate": _one(rate)}
        for kind, found in kinds.items()
        for decay, rate in [zip(*found, strict=True)]
    }


def optimizer_settings(cfg: Config, model: nn.Module) -> dict[str, tuple[float, float]]:
    """Build the optimizer and read its settings for each parameter.

    Args:
        cfg (Config): Config of the model.
        model (nn.Module): Network to optimize.

    Returns:
        dict[str, tuple[float, float]]: Weight decay and learning rate of each trainable parameter,
        by name.
    """
    with DefaultScope.overwrite_default_scope(cfg.get("default_scope") or "mmengine"):
        wrapper = build_optim_wrapper(model, cfg.optim_wrapper.copy())
    groups = {
        id(parameter): group
        for group in wrapper.optimizer.param_groups
        for parameter in group["params"]
    }
    return {
        name: (groups[id(parameter)]["weight_decay"], groups[id(parameter)]["lr"])
        for name, parameter in model.named_parameters()
        if id(parameter) in groups and parameter.requires_grad
    }


def _one(values: Iterable[float | None]) -> Any:
    found = sorted(set(values), key=lambda value: -1.0 if value is None else value)
    return found[0] if len(found) == 1 else found


def describe_modules(model: nn.Module) -> dict[str, Any]:
    """Count the norm layers, and list active dropout and stochastic depth.

    Args:
        model (nn.Module): Network to inspect.

    Returns:
        dict[str, Any]: ``norms``, by PyTorch class with their epsilon, and the rates of
        ``dropout`` and ``stochastic depth`` with the number of modules.
    """
    norms: dict[str, int] = {}
    dropout, depth = [], []
    for module in model.modules():
        name = type(module).__name__
        if "Norm" in name and hasattr(module, "eps"):
            key = f"{_pytorch_class(module)} eps={module.eps:g}"
            norms[key] = norms.get(key, 0) + 1
        elif isinstance(module, nn.modules.dropout._DropoutNd) and module.p > 0:
            dropout.append(module.p)
        elif "DropPath" in name and getattr(module, "drop_prob", 0):
            depth.append(round(float(module.drop_prob), 6))
    return {"norms": norms, "dropout": _runs(dropout), "stochastic depth": _runs(depth)}


def _pytorch_class(module: nn.Module) -> str:
    classes = type(module).__mro__
    theirs = (
        cls for cls in classes if cls.__module__.startswith("torch.nn.") and "Norm" in str(cls)
    )
    return next(theirs, classes[0]).__name__


def _runs(values: list[float]) -> dict[str, int]:
    """Frequency of each value."""
    return {f"{value:g}": values.count(value) for value in dict.fromkeys(values)}
