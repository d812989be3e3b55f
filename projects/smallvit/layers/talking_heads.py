"""Talking-heads attention: linear projections across heads before and after the softmax."""

import torch
from torch import Tensor, nn

from smallvit.layers.heads import check_heads, join_heads, split_heads
from smallvit.layers.inference import needs_intermediates

# With one thread and 2 MiB of L2 cache, splitting makes CaiT-XXS12 a third faster from 1.2 million
# logits on, and has no effect at 0.6 million.
MIN_LOGITS_TO_SPLIT = 1 << 20


class TalkingHeadsAttention(nn.Module):
    """Multi-head attention with learned projections across heads before and after the softmax.

    Because attention weights are projected after the softmax, the fused kernel cannot be
    used. The logits pass through the module ``logits`` before the first projection: an identity
    that plugins can replace. From `Talking-Heads Attention
    <https://arxiv.org/abs/2003.02436>`_; `CaiT <https://arxiv.org/abs/2103.17239>`_ uses it
    for patch tokens.

    Args:
        embed_dims (int): Channels of the tokens.
        num_heads (int): Number of heads; must divide ``embed_dims``.
        qkv_bias (bool): Whether queries, keys and values have a bias.
            Defaults to False.
        attn_drop_rate (float): Dropout of attention weights. Defaults to 0.
        proj_drop_rate (float): Dropout of the output. Defaults to 0.
        talk (bool): Whether to project across heads; False gives plain attention.
            Defaults to True.

    Raises:
        ValueError: If ``num_heads`` does not divide ``embed_dims``.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        qkv_bias: bool = False,
        attn_drop_rate: float = 0.0,
        proj_drop_rate: float = 0.0,
        talk: bool = True,
    ) -> None:
        super().__init__()
        check_heads(embed_dims, num_heads)
        self.num_heads = num_heads
        self.scale = (embed_dims // num_heads) ** -0.5
        self.q = nn.Linear(embed_dims, embed_dims, bias=qkv_bias)
        self.kv = nn.Linear(embed_dims, 2 * embed_dims, bias=qkv_bias)
        self.logits = nn.Identity()
        self.mix_before = nn.Parameter(torch.randn(num_heads, num_heads)) if talk else None
        self.mix_after = nn.Parameter(torch.randn(num_heads, num_heads)) if talk else None
        self.attn_drop = nn.Dropout(attn_drop_rate)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(proj_drop_rate)

    def _mix(self, attention: Tensor, mixture: Tensor | None) -> Tensor:
        if mixture is None:
            return attention
        # Not `@`: with a parameter, it would be folded into one product of transposed copies.
        mixture = mixture.t().expand(attention.shape[0], -1, -1)
        return torch.bmm(mixture, attention.flatten(2)).unflatten(2, attention.shape[2:])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Apply attention.

        Args:
            x (Tensor): Query tokens (B, N, C).
            context (Tensor, optional): Additional key and value tokens (B, M, C) besides
                ``x``. Defaults to None.

        Returns:
            Tensor: Tokens, (B, N, C).
        """
        source = x if context is None else torch.cat((x, context), dim=1)
        query = split_heads(self.q(x), self.num_heads)
        key, value = (
            split_heads(part, self.num_heads) for part in self.kv(source).chunk(2, dim=-1)
        )
        if self._can_split(query, key):
            size = torch.get_num_threads()
            parts = zip(*(each.split(size) for each in (query, key, value)), strict=True)
            out = torch.cat([self._attend(*part) for part in parts])
        else:
            out = self._attend(query, key, value)
        return self.proj_drop(self.proj(join_heads(out)))

    def _can_split(self, query: Tensor, key: Tensor) -> bool:
        """Whether a CPU should process the batch in parts, so that logits stay in its cache."""
        if query.device.type != "cpu" or query.dtype != torch.float32:
            return False
        logits = query.shape[0] * query.shape[1] * query.shape[2] * key.shape[2]
        if not isinstance(logits, int) or logits < MIN_LOGITS_TO_SPLIT:  # a graph of any batch
            return False
        return type(self.logits) is nn.Identity and not needs_intermediates(
            self.logits, self.attn_drop
        )

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        logits = self.logits(query * self.scale @ key.transpose(-2, -1))
        weights = self._mix(logits, self.mix_before).softmax(dim=-1)
        return self._mix(self.attn_drop(weights), self.mix_after) @ value
