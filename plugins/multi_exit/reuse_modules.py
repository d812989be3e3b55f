"""Replacement modules with which transformer blocks reuse results of an earlier exit."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from smallvit.hosts import BlockParts
from smallvit.layers.attention_form import attend


class PassedTensors:
    """Tensors passed to a module for one forward pass.

    Not an ``nn.Module``, because setting attributes of one is slower.
    """

    def __init__(self) -> None:
        self.context: Tensor | None = None
        self.bias: Tensor | None = None
        self.logits: Tensor | None = None


class ContextNorm(nn.LayerNorm):
    """LayerNorm over the channels of tokens concatenated with the context of an earlier exit.

    Args:
        norm (nn.LayerNorm): Norm to replace.
        context_dims (int): Channels of the context.
    """

    def __init__(self, norm: nn.LayerNorm, context_dims: int) -> None:
        super().__init__(norm.normalized_shape[0] + context_dims, eps=norm.eps)
        self.passed = PassedTensors()

    def forward(self, x: Tensor) -> Tensor:
        """Normalize tokens (B, N, C) together with the context (B, N, context_dims)."""
        return super().forward(torch.cat((x, self.passed.context.to(x.dtype)), dim=-1))


class RelatedLogits(nn.Module):
    """Add the relation bias of an earlier exit to attention logits, and record the sum.

    Args:
        keep (bool): Whether to record the logits for the next exit.
    """

    def __init__(self, keep: bool) -> None:
        super().__init__()
        self.keep = keep
        self.passed = PassedTensors()

    def forward(self, logits: Tensor) -> Tensor:
        """Add the bias to logits (B, num_heads, N, N)."""
        if self.passed.bias is not None:
            logits = logits + self.passed.bias
        if self.keep:
            self.passed.logits = logits
        return logits


class RelatedAttention(RelatedLogits):
    """Dot-product attention with the relation bias of an earlier exit.

    Uses a fused kernel unless the logits are recorded for the next exit.
    """

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        dropout_p: float = 0.0,
        scale: float | None = None,
    ) -> Tensor:
        """Compute attention as :func:`torch.nn.functional.scaled_dot_product_attention` does.

        Args:
            query (Tensor): (B, num_heads, N, head_dims).
            key (Tensor): (B, num_heads, N, head_dims).
            value (Tensor): (B, num_heads, N, head_dims).
            dropout_p (float): Dropout probability of the attention weights. Defaults to 0.
            scale (float, optional): Factor of the logits. Defaults to None, which means
                ``head_dims ** -0.5``.

        Returns:
            Tensor: (B, num_heads, N, head_dims).
        """
        if not self.keep:
            bias = self.passed.bias
            bias = None if bias is None else bias.to(query.dtype)
            return attend(query, key, value, attn_mask=bias, dropout_p=dropout_p, scale=scale)
        scale = query.shape[-1] ** -0.5 if scale is None else scale
        logits = super().forward(query * scale @ key.transpose(-2, -1))
        weights = logits.softmax(dim=-1)
        return (F.dropout(weights, dropout_p) if dropout_p else weights) @ value


def widen_feedforward(parts: BlockParts, context_dims: int) -> ContextNorm:
    """Widen the input of a block's feed-forward network by the channels of a context.

    Args:
        parts (BlockParts): Parts of the block; norm and first layer are replaced in place under
            their own names.
        context_dims (int): Channels of the context.

    Returns:
        ContextNorm: The new norm, which receives the context.
    """
    owner, name = parts.norm
    norm = ContextNorm(getattr(owner, name), context_dims)
    setattr(owner, name, norm)
    owner, name = parts.expand
    layer = getattr(owner, name)
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        wide = nn.Linear(layer.in_features + context_dims, layer.out_features, bias)
    else:
        wide = nn.Conv2d(layer.in_channels + context_dims, layer.out_channels, 1, bias=bias)
    setattr(owner, name, wide)
    return norm


def add_relation_bias(parts: BlockParts, keep: bool) -> RelatedLogits:
    """Add a relation bias to the attention of a block, and optionally record its logits.

    Args:
        parts (BlockParts): Parts of the block; the logits module is replaced in place.
        keep (bool): Whether to record the logits for the next exit.

    Returns:
        RelatedLogits: The new module, which receives the bias and records the logits.
    """
    relation = RelatedLogits(keep) if parts.logits == "logits" else RelatedAttention(keep)
    setattr(parts.attention, parts.logits, relation)
    return relation
