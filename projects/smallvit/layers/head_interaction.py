"""Head-interacted multi-head self-attention (HI-MHSA) of DHVT."""

import torch
import torch.nn.functional as F
from mmcv.cnn import build_norm_layer
from mmengine.model.weight_init import trunc_normal_
from torch import Tensor, nn

from smallvit.layers.attention import Attention


class HeadInteractedAttention(Attention):
    """Self-attention with one additional head token per head.

    A head token is the mean of its head's channels over all tokens, projected to the full
    width, normalized per head, with a learnable position embedding added. Head tokens take part
    in attention as queries, keys and values; afterwards their mean is added to the class
    token, and they are dropped.

    From `Bridging the Gap Between Vision Transformers and Convolutional Neural Networks
    on Small Datasets <https://arxiv.org/abs/2210.05958>`_.

    Args:
        embed_dims (int): Channels of the tokens.
        num_heads (int): Number of heads, and of head tokens.
        with_cls_token (bool): Whether the first token is a class token, to which the mean of
            the head tokens is added. Defaults to True.
        norm_cfg (dict): Config of the norm layer of the head tokens. Defaults to
            ``dict(type="LN", eps=1e-5)``.
        **kwargs: ``qkv_bias``, ``qk_scale``, ``attn_drop_rate`` and ``proj_drop_rate``
            of :class:`Attention`.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        with_cls_token: bool = True,
        norm_cfg: dict | None = None,
        **kwargs,
    ) -> None:
        super().__init__(embed_dims, num_heads, **kwargs)
        head_dims = embed_dims // num_heads
        self.with_cls_token = with_cls_token
        self.head_proj = nn.Linear(head_dims, embed_dims)
        self.head_norm = build_norm_layer(norm_cfg or dict(type="LN", eps=1e-5), head_dims)[1]
        self.head_pos_embed = nn.Parameter(torch.zeros(1, num_heads, embed_dims))
        trunc_normal_(self.head_pos_embed, std=0.02)

    def head_tokens(self, x: Tensor) -> Tensor:
        """Compute the head tokens.

        Args:
            x (Tensor): Tokens, (B, N, C).

        Returns:
            Tensor: Head tokens, (B, num_heads, C).
        """
        B, _, C = x.shape
        summary = x.mean(dim=1).reshape(B, self.num_heads, -1)
        tokens = self.head_proj(summary).reshape(B, self.num_heads, self.num_heads, -1)
        return F.gelu(self.head_norm(tokens)).reshape(B, self.num_heads, C) + self.head_pos_embed

    def forward(self, x: Tensor) -> Tensor:
        """Apply attention over tokens and head tokens.

        Args:
            x (Tensor): Tokens (B, N, C), with the class token first if there is one.

        Returns:
            Tensor: Tokens (B, N, C).
        """
        N = x.shape[1]
        out, _ = self.mix(torch.cat((x, self.head_tokens(x)), dim=1))
        if not self.with_cls_token:
            return self.proj_drop(self.proj(out[:, :N]))
        out = self.proj(out)
        cls_token = out[:, :1] + out[:, N:].mean(dim=1, keepdim=True)
        return self.proj_drop(torch.cat((cls_token, out[:, 1:N]), dim=1))
