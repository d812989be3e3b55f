"""Structured initialization of self-attention: each head attends to one neighbor."""

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

#: Logits to factorize: the value at the neighbor, and the standard deviation of the others.
IMPULSE, BACKGROUND = 1000.0, 1.8


@WEIGHT_INITIALIZERS.register_module()
class StructuredInit:
    """Initialize attention so that each head attends to one fixed offset from each patch.

    Each head is assigned an offset in a small window, drawn without replacement until all
    offsets are used. In a plain transformer the query and key weights are computed from the
    position embeddings, so that their product, as far as the rank of a head allows, is largest
    at that offset. In a Swin transformer the relative position bias encodes the offset. Value and
    output weights are those of :class:`MimeticInit`; biases of the attention are zero::

        model = dict(init_cfg=dict(type="smallvit.StructuredInit"))

    From `Structured Initialization for Vision Transformers
    <https://arxiv.org/abs/2505.19985>`_ (code: osiriszjq/structured_initialization, where
    offsets are assigned to the heads in a fixed order). The authors' code does not support Swin;
    the value of ``window_bias`` is our choice.

    Args:
        window_size (int): Side of the window, odd. Defaults to 3.
        position_std (float): Standard deviation of the normal distribution that learnable position
            embeddings are drawn from; fixed ones are unchanged. Defaults to 0.36.
        query_key_norm (float): Frobenius norm of a head's query weights, and of its key
            weights. Defaults to 7.
        value_output (tuple[float, float]): Factors of ``Z`` and of the negative identity, see
            :class:`MimeticInit`. Defaults to (0.4, 0.4).
        window_bias (float): Relative position bias of each Swin head at its offset; the others
            are 0. Defaults to 5.

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
            raise ValueError(f"expected an odd window_size, got {window_size}")
        self.window_size = window_size
        self.position_std = position_std
        self.query_key_norm = query_key_norm
        self.value_output = tuple(value_output)
        self.window_bias = window_bias

    def __call__(self, module: nn.Module) -> None:
        """Initialize the attention of a model's backbone.

        Args:
            module (nn.Module): Model to which the ``init_cfg`` belongs.

        Raises:
            HostError: If its backbone is not a host, its attention class is not supported, or it
                has neither position embeddings nor relative position biases.
            ValueError: If the backbone loads a checkpoint, or the ``init_cfg`` belongs to a
                backbone that then runs its own initialization.
        """
        with last_of_all(type(self).__name__, module) as backbone:
            blocks = view_host(backbone).blocks
            attentions = [attention_projections(block.module) for block in blocks]
            way = self._filler(backbone, attentions)
            for attention in attentions:
                way.fill(attention, self._draw_offsets(attention.num_heads))
                fill_output(attention, *self.value_output)

    def _filler(self, backbone: nn.Module, attentions: list) -> WindowBias | PositionQueries:
        if all(hasattr(each.module, "relative_position_bias_table") for each in attentions):
            return WindowBias(self.window_bias)
        positions = position_table(backbone)
        if positions is None:
            raise HostError(
                "StructuredInit requires position embeddings for one grid, or relative position "
                f"biases in all attention modules, which {type(backbone).__name__} does not have. "
                "Use smallvit.MimeticInit"
            )
        if positions.is_trained:
            positions.patches.normal_(std=self.position_std)
        return PositionQueries(positions, self.query_key_norm)

    def _draw_offsets(self, num_heads: int) -> list[tuple[int, int]]:
        """Draw the offset of each head, in rows and columns."""
        area, reach = self.window_size**2, self.window_size // 2
        rounds = -(-num_heads // area)
        order = torch.cat([torch.randperm(area) for _ in range(rounds)])[:num_heads].tolist()
        return [(i // self.window_size - reach, i % self.window_size - reach) for i in order]


class PositionQueries:
    """Query and key weights that attend to one offset, computed from position embeddings.

    Args:
        positions (PositionTable): Position embeddings that are added to the patch tokens.
        norm (float): Frobenius norm of the weights of a head.
    """

    def __init__(self, positions: PositionTable, norm: float) -> None:
        patches = positions.patches
        self.grid, self.norm = positions.grid, norm
        # The attention receives the embeddings after the LayerNorm before it.
        normed = F.layer_norm(patches, patches.shape[-1:])
        self.left, self.values, self.right = torch.linalg.svd(normed, full_matrices=False)

    def fill(self, attention: AttentionProjections, offsets: list[tuple[int, int]]) -> None:
        """Fill the query and key weights of an attention layer.

        Args:
            attention (AttentionProjections): Projections to fill in place.
            offsets (list[tuple[int, int]]): Offset of each head, in rows and columns.
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
    """Compute the logits of an attention head that attends to one offset from each patch.

    Args:
        grid (tuple[int, int]): Height and width (H, W) of the grid.
        offset (tuple[int, int]): Offset in rows and columns.

    Returns:
        Tensor: (H * W, H * W), small random numbers except at the offset, which may lie outside
        the grid for patches at the border.
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
    """Relative position bias that attends to one offset from each patch.

    Args:
        value (float): Bias at the offset; the others are 0.
    """

    def __init__(self, value: float) -> None:
        self.value = value

    def fill(self, attention: AttentionProjections, offsets: list[tuple[int, int]]) -> None:
        """Fill the relative position bias table of a window attention layer.

        Args:
            attention (AttentionProjections): Window attention to fill in place.
            offsets (list[tuple[int, int]]): Offset of each head, in rows and columns.
        """
        height, width = attention.module.window_size
        index = attention.module.relative_position_index.reshape(height * width, height * width)
        table = attention.module.relative_position_bias_table
        table.zero_()
        for head, (down, right) in enumerate(offsets):
            if abs(down) < height and abs(right) < width:
                query = max(0, -down) * width + max(0, -right)
                table[index[query, query + down * width + right], head] = self.value
