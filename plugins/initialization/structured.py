"""Attention that begins as a convolution with one tap: each head looks at one neighbor."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallvit.errors import HostError
from smallvit.hosts import (
    AttentionProjections,
    PositionTable,
    attention_projections,
    position_table,
    view_host,
)
from smallvit.plugins.initialization.attention import fill_output, last_of_all, zero_bias
from smallvit.registry import WEIGHT_INITIALIZERS

#: Logits that are factorized: of the neighbor, and the deviation of the others.
IMPULSE, BACKGROUND = 1000.0, 1.8


@WEIGHT_INITIALIZERS.register_module()
class StructuredInit:
    """Initialize attention so that each head looks at one position beside each patch.

    Each head draws a position of a small window, without putting it back as long as there are
    others. In a plain transformer the query and key weights are computed from the position
    embeddings: their products, as far as the rank of a head reaches, are largest there. In a
    Swin transformer the relative position bias says it. Value and output weights are those of
    :class:`MimeticInit`; biases of the attention are zero::

        model = dict(init_cfg=dict(type="smallvit.StructuredInit"))

    From `Structured Initialization for Vision Transformers
    <https://arxiv.org/abs/2505.19985>`_ (code: osiriszjq/structured_initialization, where
    the heads take the positions in a fixed order). The authors' code has no Swin; the number of its
    bias is ours.

    Args:
        window_size (int): Side of the window, odd. Defaults to 3.
        position_std (float): Standard deviation of the normal numbers that trained position
            embeddings begin with; fixed ones stay. Defaults to 0.36.
        query_key_norm (float): Frobenius norm of a head's query weights, and of its key
            weights. Defaults to 7.
        value_output (tuple[float, float]): As in :class:`MimeticInit`. Defaults to (0.4, 0.4).
        window_bias (float): Relative position bias of Swin's heads at their position, 0 for the
            others. Defaults to 5.

    Raises:
        ValueError: If ``window_size`` is even.
    """

    def __init__(
        self,
        window_size: int = 3,
        position_std: float = 0.36,
        query_key_norm: float = 7.0,
        value_output: tuple[float, float] = (0.4, 0.4),
        window_bias: float = 5.0,
    ) -> None:
        if window_size < 1 or window_size % 2 == 0:
            raise ValueError(f"window_size={window_size} must be odd, such as 3")
        self.window_size = window_size
        self.position_std = position_std
        self.query_key_norm = query_key_norm
        self.value_output = tuple(value_output)
        self.window_bias = window_bias

    def __call__(self, module: nn.Module) -> None:
        """Initialize the attention of a model's backbone.

        Args:
            module (nn.Module): The model to which the ``init_cfg`` belongs.

        Raises:
            HostError: If its backbone is not a host, has no attention of a known class, or tells
                its attention no positions.
            ValueError: If it belongs to the backbone itself, which loads weights or goes on with
                its own initialization.
        """
        with last_of_all(type(self).__name__, module) as backbone:
            blocks = view_host(backbone).blocks
            attentions = [attention_projections(block.module) for block in blocks]
            way = self._way(backbone, attentions)
            for attention in attentions:
                way.fill(attention, self._draw_offsets(attention.num_heads))
                fill_output(attention, *self.value_output)

    def _way(self, backbone: nn.Module, attentions: list) -> WindowBias | PositionQueries:
        if all(hasattr(each.module, "relative_position_bias_table") for each in attentions):
            return WindowBias(self.window_bias)
        positions = position_table(backbone)
        if positions is None:
            raise HostError(
                f"StructuredInit computes attention from position embeddings, and "
                f"{type(backbone).__name__} has no table of them for one grid (nor has all its "
                "attention a relative position bias); smallvit.MimeticInit needs none"
            )
        if positions.is_trained:
            positions.patches.normal_(std=self.position_std)
        return PositionQueries(positions, self.query_key_norm)

    def _draw_offsets(self, num_heads: int) -> list[tuple[int, int]]:
        """Rows and columns from a patch to where each head looks."""
        area, reach = self.window_size**2, self.window_size // 2
        rounds = -(-num_heads // area)
        order = torch.cat([torch.randperm(area) for _ in range(rounds)])[:num_heads].tolist()
        return [(i // self.window_size - reach, i % self.window_size - reach) for i in order]


class PositionQueries:
    """Query and key weights whose products look at one position beside each patch.

    Args:
        positions (PositionTable): What tells the attention where a patch is.
        norm (float): Frobenius norm of the weights of a head.
    """

    def __init__(self, positions: PositionTable, norm: float) -> None:
        patches = positions.patches
        self.grid, self.norm = positions.grid, norm
        # What the norm in front of the attention makes of the positions.
        normed = F.layer_norm(patches, patches.shape[-1:])
        self.left, self.values, self.right = torch.linalg.svd(normed, full_matrices=False)

    def fill(self, attention: AttentionProjections, offsets: list[tuple[int, int]]) -> None:
        """Fill the query and key weights of an attention.

        Args:
            attention (AttentionProjections): The attention.
            offsets (list[tuple[int, int]]): Rows and columns from a patch to where each head looks.
        """
        queries = attention.query.weight.chunk(attention.num_heads)
        keys = attention.key.weight.chunk(attention.num_heads)
        for query, key, offset in zip(queries, keys, offsets, strict=True):
            self._factorize(query, key, impulse_logits(self.grid, offset))
        zero_bias(attention.query, attention.key)

    def _factorize(self, query: Tensor, key: Tensor, logits: Tensor) -> None:
        rank = min(len(query), len(self.values))
        left, right = self.left[:, :rank] / self.values[:rank], self.right[:rank]
        first, values, second = torch.linalg.svd(left.T @ logits @ left)
        for weight, factor in ((query, first.T), (key, second)):
            filled = values.sqrt()[:, None] * factor @ right
            weight.zero_()
            weight[:rank] = self.norm * filled / filled.norm()


def impulse_logits(grid: tuple[int, int], offset: tuple[int, int]) -> Tensor:
    """Logits of an attention that looks at one position beside each patch.

    Args:
        grid (tuple[int, int]): Height and width H, W of the grid.
        offset (tuple[int, int]): Rows and columns from a patch to the position.

    Returns:
        Tensor: (H * W, H * W), small random numbers but for that position, which patches at the
        border may lack.
    """
    rows, columns = (
        torch.diag(torch.ones(side - abs(step)), step)
        if abs(step) < side
        else torch.zeros(side, side)
        for side, step in zip(grid, offset, strict=True)
    )
    impulse = torch.kron(rows, columns)
    background = nn.init.trunc_normal_(torch.empty_like(impulse), std=BACKGROUND)
    return torch.where(impulse > 0, IMPULSE, background)


class WindowBias:
    """Relative position bias that looks at one position beside each patch.

    Args:
        value (float): The bias there.
    """

    def __init__(self, value: float) -> None:
        self.value = value

    def fill(self, attention: AttentionProjections, offsets: list[tuple[int, int]]) -> None:
        """Fill the relative position bias of a window attention.

        Args:
            attention (AttentionProjections): The attention.
            offsets (list[tuple[int, int]]): Rows and columns from a patch to where each head looks.
        """
        height, width = attention.module.window_size
        index = attention.module.relative_position_index.reshape(height * width, height * width)
        table = attention.module.relative_position_bias_table
        table.zero_()
        for head, (down, right) in enumerate(offsets):
            if abs(down) < height and abs(right) < width:
                query = max(0, -down) * width + max(0, -right)
                table[index[query, query + down * width + right], head] = self.value
