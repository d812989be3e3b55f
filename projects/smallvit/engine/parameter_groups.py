"""Parameter groups of an optimizer, merged by their settings, and its fused implementation."""

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
from smallvit.utils.text import name_some

#: Keys of a group that describe the parameters in it.
PARAMETERS = ("params", "param_name", "param_names")
#: Settings of torch's optimizers that choose an implementation.
IMPLEMENTATIONS = ("fused", "foreach", "capturable", "differentiable")
#: Devices with fused optimizers in every version of torch that is supported.
FUSED_DEVICES = ("cpu", "cuda")

Groups = list[dict[str, Any]]


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedGroupsConstructor:
    """Build an optimizer with one parameter group for each combination of settings.

    MMEngine's constructors make a group of each parameter once ``paramwise_cfg`` is given, and
    an optimizer goes through its groups one by one. Here, those that agree in learning rate,
    weight decay and all other settings become one, and the optimizer takes its fused
    implementation unless the config chooses one. A checkpoint with a group for each parameter
    is resumed, see :func:`~smallvit.engine.checkpoint.groups.regroup`.

    Args:
        optim_wrapper_cfg (dict): Config of the optimizer wrapper.
        paramwise_cfg (dict, optional): Settings of single parameters, as the constructor takes
            them that is named by its key ``constructor``: ``"DefaultOptimWrapperConstructor"``,
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
            OptimWrapper: The wrapper.
        """
        model = model.module if is_model_wrapper(model) else model
        if self.fuse and _takes_fused(model):
            self.base.optimizer_cfg["fused"] = True
        self.base.add_params = _merging(self.base.add_params, model)
        return self.base(model)


def _merging(add_params: Callable[..., None], model: nn.Module) -> Callable[..., None]:
    """Let a constructor's collecting of groups end with their merging."""

    frozen: list[str] = []

    def add(params: Groups, module: nn.Module, prefix: str = "", **kwargs: Any) -> None:
        parameters = list(module.parameters())
        if prefix and parameters and not any(each.requires_grad for each in parameters):
            frozen.append(prefix)  # else it warns of each parameter
            return
        add_params(params, module, prefix=prefix, **kwargs)
        if not prefix:  # it calls itself for the children
            params[:] = merge_groups(params, model)
            print_log(_summary(params), logger="current")
            if frozen:
                print_log(f"not trained: {name_some(frozen)}", logger="current")

    return add


def merge_groups(groups: Groups, model: nn.Module) -> Groups:
    """Merge the groups that have the same settings.

    Args:
        groups (list[dict]): Parameter groups.
        model (nn.Module): The model, which names the parameters.

    Returns:
        list[dict]: The merged ones in the order of their first parameters, each with the names
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
    """Whether an optimizer has a fused implementation and its config chooses none."""
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
