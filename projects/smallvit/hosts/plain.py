"""Token count and grid of a plain transformer before it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from smallvit.hosts.adapters import Adapters

_PLAIN = Adapters("plain transformer", "smallvit.hosts.register_plain")


@dataclass(frozen=True, eq=False)
class PlainTokens:
    """Tokens of a host that keeps one grid from the first block to the last.

    Args:
        host (nn.Module): The backbone.
        num_extra (int): Tokens in front of the patches, in each block.
        grid (tuple[int, int]): Rows and columns of the patches that it is built for.
        read_grid (Callable): ``read_grid(host, size)`` returns rows and columns for an image
            of height and width ``size``. It must not hold modules itself: the host may be
            copied, and the copy is passed.
        recomputes (bool): Whether it runs its blocks again in the backward pass.
            Defaults to False.
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
        force (bool): Whether an adapter that is there may be replaced. Defaults to False.

    Returns:
        Callable: The decorator of a function from the host to its :class:`PlainTokens`.
    """
    return _PLAIN.register(*classes, force=force)


def plain_tokens(host: nn.Module) -> PlainTokens:
    """Get the token description of a plain transformer.

    Args:
        host (nn.Module): The transformer.

    Returns:
        PlainTokens: Its extra tokens and its grid.

    Raises:
        HostError: If its class is not known.
    """
    return _PLAIN.get(host)(host)


def patch_grid(host: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
    """Compute a plain transformer's patch grid for an image size.

    Args:
        host (nn.Module): The transformer.
        size (tuple[int, int]): Height and width of the image.

    Returns:
        tuple[int, int]: Rows and columns.

    Raises:
        HostError: If its class is not known.
    """
    return plain_tokens(host).grid_of(size)
