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
    return F.gelu(x) if looks_back(*modules) else torch.ops.aten.gelu_(x)


def activate(act: nn.Module, x: Tensor, source: nn.Module) -> Tensor:
    """Apply an activation to what a module has just returned; GELU as :func:`gelu` does.

    Args:
        act (nn.Module): The activation.
        x (Tensor): Output of ``source``.
        source (nn.Module): The module in front of the activation.

    Returns:
        Tensor: ``act(x)``.
    """
    if type(act) is not nn.GELU or looks_back(source, act):
        return act(x)
    return torch.ops.aten.gelu_(x, approximate=act.approximate)
