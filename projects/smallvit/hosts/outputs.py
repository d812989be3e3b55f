"""Inspection of the output of a backbone with a dry run."""

from __future__ import annotations

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn

from smallvit.hosts.probe import channels_for, sizes_for
from smallvit.hosts.rest import dry_run_mode


def dry_output(host: nn.Module) -> Any:
    """Run a backbone on an image of zeros of a size that it accepts.

    Args:
        host (nn.Module): Backbone to run, whose state is restored afterwards.

    Returns:
        Any: Output for a batch of one image; None if the backbone does not run on images alone, or
        its parameters are on the meta device.
    """
    weight = next((p for p in host.parameters() if p.is_floating_point()), torch.zeros(1))
    if weight.is_meta:
        return None
    with dry_run_mode(host), torch.no_grad():
        for size, channels in product(sizes_for(host), channels_for(host)):
            try:
                return host(torch.zeros(1, channels, *size).to(weight))
            except Exception:  # try the next size
                continue
    return None


def vector_of(output: Any) -> Tensor | None:
    """Reduce the output of a backbone to one vector per image.

    Args:
        output (Any): Tensor, or a sequence with one entry per level, of which the last is used.

    Returns:
        Tensor | None: Vectors (B, C) unchanged, the spatial mean of a map (B, C, H, W), or the
        mean of several tensors of the same shape, such as those of the class and the
        distillation token; None for any other output.
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
