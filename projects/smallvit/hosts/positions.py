"""Locate the absolute position embeddings of a transformer."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from smallvit.errors import HostError
from smallvit.hosts.plain import plain_tokens


@dataclass(frozen=True, eq=False)
class PositionTable:
    """Absolute position embeddings.

    Args:
        table (Tensor): Embeddings (1, extra + H * W, C), a parameter if learned, or a buffer.
        grid (tuple[int, int]): Height and width (H, W) of the patch grid.
    """

    table: Tensor
    grid: tuple[int, int]

    @property
    def patches(self) -> Tensor:
        """Tensor: View (H * W, C) of the embeddings of the patches."""
        return self.table[0, self.table.shape[1] - self.grid[0] * self.grid[1] :]

    @property
    def extra(self) -> Tensor:
        """Tensor: View (extra, C) of the embeddings of the class and other leading tokens."""
        return self.table[0, : self.table.shape[1] - self.grid[0] * self.grid[1]]

    @property
    def is_trained(self) -> bool:
        """bool: Whether the embeddings are trainable, and so may be initialized."""
        return self.table.requires_grad


def position_table(host: nn.Module) -> PositionTable | None:
    """Find the position embeddings of a backbone.

    Args:
        host (nn.Module): Backbone, or a wrapper with the attribute ``timm_model``.

    Returns:
        PositionTable | None: Position embeddings, or None if there are none for a single known
        grid.
    """
    host = getattr(host, "timm_model", host)
    table, grid = getattr(host, "pos_embed", None), _grid(host)
    if not isinstance(table, Tensor) or table.dim() != 3 or grid is None:
        return None
    extra = table.shape[1] - grid[0] * grid[1]
    return PositionTable(table, grid) if table.shape[0] == 1 and extra >= 0 else None


def _grid(host: nn.Module) -> tuple[int, int] | None:
    try:
        rows, columns = plain_tokens(host).grid
        return rows, columns
    except HostError:
        pass
    embed = getattr(host, "patch_embed", None)
    for name in ("grid_size", "init_out_size"):  # timm's, mmcv's
        if getattr(embed, name, None) is not None:
            return tuple(getattr(embed, name))
    size, patch = getattr(host, "img_size", None), getattr(host, "patch_size", None)
    if isinstance(size, tuple) and isinstance(patch, int):  # mmseg's
        return size[0] // patch, size[1] // patch
    return None
