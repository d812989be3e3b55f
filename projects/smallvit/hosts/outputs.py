"""Inspect the output of a backbone with a dry run."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from smallvit.hosts.probe import channels_for, sizes_for
from smallvit.hosts.rest import at_rest


def dry_output(host: nn.Module) -> Any:
    """Run a backbone on an image of zeros, of a size that it takes.

    Args:
        host (nn.Module): The backbone, which is left as it was.

    Returns:
        Any: What it returns for a batch of one; None where it takes no image alone, or has no
        values yet.
    """
    weight = next((p for p in host.parameters() if p.is_floating_point()), torch.zeros(1))
    if weight.is_meta:
        return None
    with at_rest(host), torch.no_grad():
        for size, channels in product(sizes_for(host), channels_for(host)):
            try:
                return host(torch.zeros(1, channels, *size).to(weight))
            except Exception:  # another size then
                continue
    return None


def vector_of(output: Any) -> Tensor | None:
    """Reduce the output of a backbone to one vector per image.

    Args:
        output (Any): A tensor, or tensors of several levels, of which the last counts.

    Returns:
        Tensor | None: A vector (B, C) as it is, the mean of a map (B, C, H, W), the mean of the
        vectors of a class and a distillation token; None of anything else.
    """
    if isinstance(output, (tuple, list)) and output:
        output = output[-1]
    if isinstance(output, (tuple, list)) and output:
        alike = all(isinstance(x, Tensor) and x.shape == output[0].shape for x in output)
        output = torch.stack(tuple(output)).mean(dim=0) if alike else None
    if not isinstance(output, Tensor):
        return None
    if output.ndim == 4:
        return output.mean(dim=(2, 3))
    return output if output.ndim == 2 else None
