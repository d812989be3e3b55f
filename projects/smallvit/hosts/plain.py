"""Token count and grid of a plain transformer, without running it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from smallvit.hosts.adapters import Adapters

_PLAIN = Adapters("plain transformer", "smallvit.hosts.register_plain")


@dataclass(frozen=True, eq=False)
class PlainTokens:
    """Token count and grid of a host with the same grid in all blocks.

    Args:
        host (nn.Module): Backbone that is passed to ``read_grid``.
        num_extra (int): Number of tokens before the patches in each block.
        grid (tuple[int, int]): Rows and columns of patches for which the backbone was built.
        read_grid (Callable): ``read_grid(host, size)`` returns rows and columns for an image
            of height and width ``size``. It must not hold references to modules: after a deep
            copy of the host, the copy is passed.
        recomputes (bool): Whether the backbone uses gradient checkpointing, so that blocks run
            again in the backward pass. Defaults to False.
    """

    host: nn.Module
    num_extra: int
    grid: tuple[int, int]
    read_grid: Callable[[nn.Module, tuple[int, int]], tuple[int, int]]
    recomputes: bool = False

    def grid_of(self, size: tuple[int, int]) -> tuple[int, int]:
        """Rows and columns of patches for an image of height and width ``size``."""
        rows, columns = self.read_grid(self.host, (size[0], size[1]))
        return rows, columns


def register_plain(*classes: type | str, force: bool = False) -> Callable:
    """Register a decorated function as the adapter of some host classes.

    Args:
        *classes (type | str): Classes or their full names, see :func:`register_host`.
        force (bool): Whether to replace a registered adapter. Defaults to False.

    Returns:
        Callable: Decorator for a function that maps a host to its :class:`PlainTokens`.
    """
    return _PLAIN.register(*classes, force=force)


def plain_tokens(host: nn.Module) -> PlainTokens:
    """Get the token count and grid of a plain transformer.

    Args:
        host (nn.Module): Plain transformer of a registered class.

    Returns:
        PlainTokens: Number of extra tokens and grid.

    Raises:
        HostError: If no adapter is registered for its class.
    """
    return _PLAIN.get(host)(host)


def patch_grid(host: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
    """Compute a plain transformer's patch grid for an image size.

    Args:
        host (nn.Module): Plain transformer of a registered class.
        size (tuple[int, int]): Height and width of the image.

    Returns:
        tuple[int, int]: Rows and columns of patches.

    Raises:
        HostError: If no adapter is registered for its class.
    """
    return plain_tokens(host).grid_of(size)
