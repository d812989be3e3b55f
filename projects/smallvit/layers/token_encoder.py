"""Token encoders for many, wide tokens: the first layers of T2T-ViT."""

import math

import torch
from mmcv.cnn import build_norm_layer
from torch import Tensor, nn

from smallvit.layers.attention import Attention
from smallvit.layers.mlp import Mlp


class TokenTransformer(nn.Module):
    """Single-head attention that reduces the token width, then an MLP of ratio 1.

    The values replace the residual, since input and output differ in width. Logits
    are scaled by the width of the input, as in the official T2T-ViT.

    From `Tokens-to-Token ViT <https://arxiv.org/abs/2101.11986>`_.

    Args:
        input_dims (int): Channels of the input.
        embed_dims (int): Channels of the output. Defaults to 64.
        drop_rate (float): Dropout of the projections. Defaults to 0.
        norm_cfg (dict): Config of the norm layers. Defaults to ``dict(type="LN")``.
    """

    def __init__(
        self,
        input_dims: int,
        embed_dims: int = 64,
        drop_rate: float = 0.0,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        norm_cfg = norm_cfg or dict(type="LN")
        self.norm1 = build_norm_layer(norm_cfg, input_dims)[1]
        self.attn = Attention(
            embed_dims,
            num_heads=1,
            input_dims=input_dims,
            qkv_bias=False,
            qk_scale=input_dims**-0.5,
            proj_drop_rate=drop_rate,
        )
        self.norm2 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.mlp = Mlp(embed_dims, embed_dims, drop=drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        """Encode tokens (B, N, input_dims) as (B, N, embed_dims)."""
        mixed, value = self.attn.mix(self.norm1(x))
        x = value.squeeze(1) + self.attn.proj_drop(self.attn.proj(mixed))
        return x + self.mlp(self.norm2(x))


class TokenPerformer(nn.Module):
    """Attention with positive random features, linear in the number of tokens, then an MLP.

    The softmax kernel is estimated from a fixed random matrix (`Performer
    <https://arxiv.org/abs/2009.14794>`_). The features are exponentials, so they are
    computed in float32 under autocast.

    From `Tokens-to-Token ViT <https://arxiv.org/abs/2101.11986>`_.

    Args:
        input_dims (int): Channels of the input.
        embed_dims (int): Channels of the output. Defaults to 64.
        kernel_ratio (float): Random features as a share of ``embed_dims``.
            Defaults to 0.5.
        drop_rate (float): Dropout of the projections. Defaults to 0.
        norm_cfg (dict): Config of the norm layers. Defaults to ``dict(type="LN")``.
    """

    def __init__(
        self,
        input_dims: int,
        embed_dims: int = 64,
        kernel_ratio: float = 0.5,
        drop_rate: float = 0.0,
        norm_cfg: dict | None = None,
    ) -> None:
        super().__init__()
        norm_cfg = norm_cfg or dict(type="LN")
        num_features = int(embed_dims * kernel_ratio)
        self.eps = 1e-8
        self.norm1 = build_norm_layer(norm_cfg, input_dims)[1]
        self.kqv = nn.Linear(input_dims, 3 * embed_dims)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.drop = nn.Dropout(drop_rate)
        self.norm2 = build_norm_layer(norm_cfg, embed_dims)[1]
        self.mlp = Mlp(embed_dims, embed_dims, drop=(0.0, drop_rate))
        features = nn.init.orthogonal_(torch.empty(num_features, embed_dims))
        self.register_buffer("features", features * math.sqrt(num_features))

    def feature_map(self, x: Tensor) -> Tensor:
        """Compute positive random features of queries or keys.

        Args:
            x (Tensor): Queries or keys (B, N, embed_dims), at least float32.

        Returns:
            Tensor: Random features (B, N, number of features).
        """
        half_norm = x.square().sum(dim=-1, keepdim=True) / 2
        return torch.exp(x @ self.features.t() - half_norm) / math.sqrt(len(self.features))

    def attend(self, key: Tensor, query: Tensor, value: Tensor) -> Tensor:
        """Weight values (B, N, C) by the estimated softmax kernel of queries and keys."""
        wide = torch.promote_types(value.dtype, torch.float32)
        with torch.autocast(value.device.type, enabled=False):
            key, query = self.feature_map(key.to(wide)), self.feature_map(query.to(wide))
            weighted = query @ (key.transpose(1, 2) @ value.to(wide))
            total = query @ key.sum(dim=1).unsqueeze(2)
            return weighted / (total + self.eps)

    def forward(self, x: Tensor) -> Tensor:
        """Encode tokens (B, N, input_dims) as (B, N, embed_dims)."""
        key, query, value = self.kqv(self.norm1(x)).chunk(3, dim=-1)
        x = value + self.drop(self.proj(self.attend(key, query, value)))
        return x + self.mlp(self.norm2(x))
