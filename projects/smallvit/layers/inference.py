"""When a layer may save memory traffic because nobody looks back at what it computed."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def looks_back(*modules: nn.Module) -> bool:
    """Whether intermediate values may be needed after the layer has used them.

    They are where gradients flow, where a graph is captured, which should not hold what is
    peculiar to eager execution, and where a hook may have kept a module's output.

    Args:
        *modules (nn.Module): Modules whose outputs would be overwritten or never made.

    Returns:
        bool: False only if the values can be overwritten.
    """
    return (
        torch.is_grad_enabled()
        or torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or any(module._forward_hooks for module in modules)
    )


def gelu(x: Tensor, *modules: nn.Module) -> Tensor:
    """Apply GELU to a tensor that nobody else holds, in its own memory where that is possible.

    On a CPU, memory for a second tensor of the size of hidden tokens takes longer than GELU.

    Args:
        x (Tensor): What the last of ``modules``, or a function, has just returned.
        *modules (nn.Module): Modules that may have hooks and that ``x`` came through.

    Returns:
        Tensor: GELU of ``x``.
    """
    return _gelu(x, is_free=not looks_back(*modules))


def _gelu(x: Tensor, is_free: bool, approximate: str = "none") -> Tensor:
    """Apply GELU in the order in which memory holds a map.

    On a CPU, GELU of a channels-last map takes 1.5 times as long as that of the same memory seen
    as (B, H, W, C), forward and backward.
    """
    function = torch.ops.aten.gelu_ if is_free else F.gelu
    if _is_eager_channels_last(x):
        return function(x.permute(0, 2, 3, 1), approximate=approximate).permute(0, 3, 1, 2)
    return function(x, approximate=approximate)


def _is_eager_channels_last(x: Tensor) -> bool:
    return (
        x.ndim == 4
        and x.device.type == "cpu"
        and type(x) is Tensor
        and not torch.compiler.is_compiling()
        and not torch.jit.is_tracing()
        and not x.is_contiguous()
        and x.is_contiguous(memory_format=torch.channels_last)
    )


def activate(act: nn.Module, x: Tensor, source: nn.Module | None = None) -> Tensor:
    """Apply an activation to a tensor; GELU as :func:`gelu` does.

    Args:
        act (nn.Module): The activation.
        x (Tensor): Its input.
        source (nn.Module, optional): The module that has just returned ``x``, whose memory may
            then be written again. Defaults to None: ``x`` stays as it is.

    Returns:
        Tensor: ``act(x)``.
    """
    if type(act) is not nn.GELU or act._forward_hooks or act._forward_pre_hooks:
        return act(x)
    is_free = source is not None and not looks_back(source, act)
    return _gelu(x, is_free, act.approximate)
