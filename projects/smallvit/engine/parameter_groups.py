"""Optimizer constructor with merged parameter groups and fused implementations."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.optim import OptimWrapper
from mmengine.registry import OPTIMIZERS
from torch import nn

from smallvit.registry import OPTIM_WRAPPER_CONSTRUCTORS
from smallvit.utils.text import join_names

#: Keys of a group that describe its parameters.
PARAMETERS = ("params", "param_name", "param_names")
#: Settings of torch optimizers that select an implementation.
IMPLEMENTATIONS = ("fused", "foreach", "capturable", "differentiable")
#: Devices with fused optimizers in every supported version of torch.
FUSED_DEVICES = ("cpu", "cuda")

Groups = list[dict[str, Any]]


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedGroupsConstructor:
    """Build an optimizer with one parameter group for each combination of settings.

    With ``paramwise_cfg`` MMEngine's constructors create one group per parameter, and an
    optimizer processes its groups one by one. Here groups with equal learning rate, weight decay
    and other settings are merged, and the optimizer uses its fused implementation unless the
    config selects one. A checkpoint with one group per parameter can be resumed, see
    :func:`~smallvit.engine.checkpoint.groups.regroup`.

    Args:
        optim_wrapper_cfg (dict): Config of the optimizer wrapper.
        paramwise_cfg (dict, optional): Settings of single parameters, as accepted by the
            constructor that its key ``constructor`` names: ``"DefaultOptimWrapperConstructor"``,
            or one with layer-wise decay such as
            ``"mmpretrain.LearningRateDecayOptimWrapperConstructor"``. Defaults to None.

    Example:
        >>> optim_wrapper = dict(
        ...     constructor="smallvit.MergedGroupsConstructor",
        ...     optimizer=dict(type="AdamW", lr=1e-3, weight_decay=0.05),
        ...     paramwise_cfg=dict(norm_decay_mult=0.0))
    """

    def __init__(self, optim_wrapper_cfg: dict, paramwise_cfg: dict | None = None) -> None:
        paramwise_cfg = dict(paramwise_cfg or {})
        kind = paramwise_cfg.pop("constructor", "DefaultOptimWrapperConstructor")
        self.fuse = _may_be_fused(optim_wrapper_cfg["optimizer"])
        self.base = OPTIM_WRAPPER_CONSTRUCTORS.build(
            dict(type=kind, optim_wrapper_cfg=optim_wrapper_cfg, paramwise_cfg=paramwise_cfg)
        )

    def __call__(self, model: nn.Module) -> OptimWrapper:
        """Build the optimizer and its wrapper.

        Args:
            model (nn.Module): The model, which may be wrapped for distributed training.

        Returns:
        OptimWrapper: Wrapper of the optimizer with merged groups.
        """
        model = model.module if is_model_wrapper(model) else model
        if self.fuse and _takes_fused(model):
            self.base.optimizer_cfg["fused"] = True
        self.base.add_params = _merging(self.base.add_params, model)
        return self.base(model)


def _merging(add_params: Callable[..., None], model: nn.Module) -> Callable[..., None]:
    """Wrap ``add_params`` of a constructor so that it merges the collected groups."""

    frozen: list[str] = []

    def add(params: Groups, module: nn.Module, prefix: str = "", **kwargs: Any) -> None:
        parameters = list(module.parameters())
        if prefix and parameters and not any(each.requires_grad for each in parameters):
            frozen.append(prefix)  # collected here, as the constructor would warn of each
            return
        add_params(params, module, prefix=prefix, **kwargs)
        if not prefix:  # the outermost of the recursive calls
            params[:] = merge_groups(params, model)
            print_log(_summary(params), logger="current")
            if frozen:
                print_log(f"not trained: {join_names(frozen)}", logger="current")

    return add


def merge_groups(groups: Groups, model: nn.Module) -> Groups:
    """Merge parameter groups with equal settings.

    Args:
        groups (list[dict]): Parameter groups.
        model (nn.Module): Model whose parameters are named.

    Returns:
        list[dict]: Merged groups in the order of their first parameters, each with the names
        of its parameters as ``param_names``.
    """
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    merged: dict[tuple, dict[str, Any]] = {}
    for group in groups:
        settings = {key: value for key, value in group.items() if key not in PARAMETERS}
        key = tuple(sorted((key, repr(value)) for key, value in settings.items()))
        target = merged.setdefault(key, {**settings, "params": [], "param_names": []})
        target["params"].extend(group["params"])
        target["param_names"].extend(names[id(parameter)] for parameter in group["params"])
    return list(merged.values())


def _summary(groups: Groups) -> str:
    lines = [
        f"{len(group['params'])} parameters"
        + "".join(f", {key}={value:.4g}" for key, value in group.items() if _is_number(value))
        for group in groups
    ]
    return "parameter groups of the optimizer: " + "; ".join(lines)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _may_be_fused(optimizer: dict[str, Any]) -> bool:
    """Whether an optimizer has a fused implementation and its config selects none."""
    kind = optimizer["type"]
    if isinstance(kind, str):
        with OPTIMIZERS.switch_scope_and_registry(None) as registry:
            kind = registry.get(kind)
    if kind is None or any(optimizer.get(key) for key in IMPLEMENTATIONS):
        return False
    module = getattr(kind, "__module__", "")
    return module.startswith("torch.") and "fused" in inspect.signature(kind).parameters


def _takes_fused(model: nn.Module) -> bool:
    return all(
        parameter.is_floating_point() and parameter.device.type in FUSED_DEVICES
        for parameter in model.parameters()
        if parameter.requires_grad
    )
