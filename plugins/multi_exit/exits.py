"""Inspection of the networks that form the exits of a cascade."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from smallvit.errors import HostError
from smallvit.hosts import (
    BlockParts,
    HostView,
    PlainTokens,
    block_parts,
    dry_output,
    plain_tokens,
    vector_of,
    view_host,
)


def channels_of(net: nn.Module, index: int) -> int | None:
    """Determine the number of channels of the vector that an exit returns.

    Args:
        net (nn.Module): Network of the exit.
        index (int): Index of the exit, for errors.

    Returns:
        int | None: Number of channels; None if the network cannot be called with an image alone.

    Raises:
        ValueError: If the output cannot be reduced to a vector.
    """
    output = dry_output(net)
    if output is None:
        return None
    vector = vector_of(output)
    if vector is None:
        raise ValueError(no_vector(net, index, output))
    return vector.shape[1]


def no_vector(net: nn.Module, index: int, output: Any) -> str:
    """Format the error message for an exit that returns no vector.

    Args:
        net (nn.Module): Network of the exit.
        index (int): Index of the exit.
        output (Any): Output of the network.

    Returns:
        str: Message that includes how to fix it.
    """
    last = output[-1] if isinstance(output, (tuple, list)) and output else output
    shown = tuple(last.shape) if isinstance(last, Tensor) else type(last).__name__
    return (
        f"exits[{index}] ({type(net).__name__}): expected a vector (B, C) or a map (B, C, H, W), "
        f"got {shown}. Set its out_type to 'cls_token' or 'avg_featmap'"
    )


def as_any_host(net: nn.Module) -> HostView | None:
    """View a first exit of which only the features are reused.

    Args:
        net (nn.Module): Network of the exit.

    Returns:
        HostView | None: View that records the grids in forward passes; None for a plain
        transformer.

    Raises:
        HostError: If the network is not a host.
    """
    try:
        plain_tokens(net)
        return None
    except HostError:
        pass
    try:
        view = view_host(net)
    except HostError as error:
        raise HostError(
            f"exits[0] ({type(net).__name__}) does not support feature reuse: {error}; or set "
            "feature_reuse=False"
        ) from error
    view.watch()
    return view


def look_into(net: nn.Module, index: int) -> tuple[PlainTokens, list[BlockParts]]:
    """Inspect an exit that reuses an earlier exit, or whose relations are reused.

    Args:
        net (nn.Module): Network of the exit.
        index (int): Index of the exit, for errors.

    Returns:
        tuple[PlainTokens, list[BlockParts]]: Layout of its tokens, and the parts of its blocks.

    Raises:
        HostError: If the network is not a plain transformer.
        ValueError: If the network uses gradient checkpointing of its own blocks.
    """
    try:
        tokens = plain_tokens(net)
        parts = [block_parts(block.module) for block in view_host(net).blocks]
    except HostError as error:
        raise HostError(
            f"exits[{index}] ({type(net).__name__}) does not support reuse: {error}; or set "
            "feature_reuse=False and relation_reuse=False (only relation_reuse for the first exit)"
        ) from error
    if tokens.recomputes:
        raise ValueError(
            f"exits[{index}] uses gradient checkpointing of its blocks, which does not support "
            "reuse. Set with_cp=True of DynamicViT instead, which recomputes whole exits"
        )
    return tokens, parts
