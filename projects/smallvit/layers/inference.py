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
