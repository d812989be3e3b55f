"""Try blocks that were found: maps of zeros beside them change nothing and have gradients."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from smallvit.errors import HostError
from smallvit.hosts.block import HostBlock


def try_zeros(
    host: nn.Module,
    blocks: Sequence[HostBlock],
    grids: Sequence[tuple[int, int]],
    images: Tensor,
) -> str:
    """Add maps of zeros to what comes out of blocks.

    Args:
        host (nn.Module): The backbone, in evaluation.
        blocks (Sequence[HostBlock]): Its blocks, which are not used otherwise.
        grids (Sequence[tuple[int, int]]): Grid of each for these images.
        images (Tensor): (B, C, H, W).

    Returns:
        str: What is wrong, empty if nothing is.
    """
    zeros = [
        images.new_zeros(1, block.channels, *hw, requires_grad=True)
        for block, hw in zip(blocks, grids, strict=True)
    ]
    with torch.no_grad():
        expected = _tensors(host(images))
    sources = {id(block.grid): block.grid for block in blocks if block.grid is not None}
    handles = [handle for source in sources.values() for handle in source.watch()]
    handles += [
        block.module.register_forward_hook(partial(_add_zeros, block, zero), with_kwargs=True)
        for block, zero in zip(blocks, zeros, strict=True)
    ]
    try:
        with torch.enable_grad():
            actual = _tensors(host(images))
            total = sum((each.float() * _weights(each)).sum() for each in actual)
            gradients = torch.autograd.grad(total, zeros, allow_unused=True)
    except Exception as error:
        message = f"{type(error).__name__}: {error}".split("\n")[0][:150]
        return f"maps beside its blocks stop it ({message})"
    finally:
        for handle in handles:
            handle.remove()
    if len(actual) != len(expected) or not all(map(_same, actual, expected)):
        return "a map of zeros beside its blocks changes what it returns"
    if gradients[0] is None:  # it may be zero: some heads begin with zeros
        return "no gradient arrives at its first block"
    return ""


def _same(actual: Tensor, expected: Tensor) -> bool:
    # Kernels differ with what is needed for gradients.
    return torch.allclose(actual, expected, rtol=1e-3, atol=1e-4)


def _add_zeros(block: HostBlock, zero: Tensor, module, args, kwargs, output):
    tokens = block.output_of(output)
    hw = block.read_grid(tokens, args, kwargs)
    if hw != tuple(zero.shape[2:]):
        raise HostError(f"its grid was {tuple(zero.shape[2:])} and then {hw}")
    return block.replace_output(output, block.add_map(tokens, zero.to(tokens.dtype)))


def _weights(x: Tensor) -> Tensor:
    # A sum alone has no gradient behind a norm.
    return torch.linspace(-1, 1, x.numel(), device=x.device).reshape(x.shape).sin()


def _tensors(output: Any) -> list[Tensor]:
    if isinstance(output, Tensor):
        return [output] if output.is_floating_point() else []
    values = output.values() if isinstance(output, dict) else output
    nested = values if isinstance(values, (tuple, list)) or isinstance(output, dict) else ()
    return [tensor for each in nested for tensor in _tensors(each)]
