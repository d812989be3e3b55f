"""Mimetic initialization of self-attention."""

from __future__ import annotations

from timm.layers import build_sincos2d_pos_embed
from torch import nn

from smallvit.hosts import (
    AttentionProjections,
    PositionTable,
    attention_projections,
    position_table,
    view_host,
)
from smallvit.plugins.initialization.attention import (
    fill_output,
    last_of_all,
    near_identity,
    zero_bias,
)
from smallvit.registry import WEIGHT_INITIALIZERS


@WEIGHT_INITIALIZERS.register_module()
class MimeticInit:
    """Initialize attention with weight products similar to those of pretrained transformers.

    In each head the product of query and key weights is near the identity, ``0.7 Z + 0.7 I`` with
    normal ``Z`` of variance ``1 / C``, truncated to the rank of a head; the product of value and
    output weights is near the negative identity, ``0.4 Z - 0.4 I``. Learnable position embeddings
    are set to sinusoids, those of class tokens to zero. Biases of the attention are zero. Other
    position encodings are left unchanged::

        model = dict(init_cfg=dict(type="smallvit.MimeticInit"))

    From `Mimetic Initialization of Self-Attention Layers <https://arxiv.org/abs/2305.09828>`_.

    Args:
        query_key (tuple[float, float]): Factors of ``Z`` and of the identity. Defaults to
            (0.7, 0.7).
        value_output (tuple[float, float]): Factors of ``Z`` and of the negative identity.
            Defaults to (0.4, 0.4).
    """

    def __init__(
        self,
        query_key: tuple[float, float] = (0.7, 0.7),
        value_output: tuple[float, float] = (0.4, 0.4),
    ) -> None:
        self.query_key = tuple(query_key)
        self.value_output = tuple(value_output)

    def __call__(self, module: nn.Module) -> None:
        """Initialize the attention of a model's backbone.

        Args:
            module (nn.Module): Model to which the ``init_cfg`` belongs.

        Raises:
            HostError: If its backbone is not a host, or its attention class is not supported.
            ValueError: If the backbone loads a checkpoint, or the ``init_cfg`` belongs to a
                backbone that then runs its own initialization.
        """
        with last_of_all(type(self).__name__, module) as backbone:
            for block in view_host(backbone).blocks:
                attention = attention_projections(block.module)
                self._fill_queries(attention)
                fill_output(attention, *self.value_output)
            positions = position_table(backbone)
            if positions is not None and positions.is_trained:
                fill_positions(positions)

    def _fill_queries(self, attention: AttentionProjections) -> None:
        query, key = attention.query.weight, attention.key.weight
        heads = attention.num_heads
        for rows, columns in zip(query.chunk(heads), key.chunk(heads), strict=True):
            left, right = near_identity(query.shape[1], *self.query_key)
            rows.copy_(left[:, : len(rows)].T)
            columns.copy_(right[: len(columns)])
        zero_bias(attention.query, attention.key)


def fill_positions(positions: PositionTable) -> None:
    """Fill position embeddings with 2D sinusoids, and those of class tokens with zeros.

    Args:
        positions (PositionTable): Filled in place; its channels must be divisible by 4.
    """
    channels = positions.table.shape[-1]
    waves = build_sincos2d_pos_embed(list(positions.grid), channels)
    positions.patches.copy_(waves.reshape(-1, channels))
    positions.extra.zero_()
