"""Pyramid Vision Transformer with a class token."""

from collections.abc import Sequence

import torch
from timm.layers import to_2tuple, trunc_normal_
from torch import Tensor, nn

from smallvit.backbones.base import StageBlock, StagedBackbone, TokenStage
from smallvit.layers.arch import resolve_arch
from smallvit.layers.attention_form import attend
from smallvit.layers.heads import check_heads, join_heads, split_heads, split_joint
from smallvit.layers.mlp import Mlp
from smallvit.layers.position import fit_loaded_positions, resize_positions
from smallvit.layers.tokens import map_to_tokens, tokens_to_map
from smallvit.registry import MODELS


class SpatialReductionAttention(nn.Module):
    """Self-attention with keys and values from a spatially reduced map.

    Args:
        embed_dims (int): Channels of the tokens.
        num_heads (int): Number of attention heads.
        sr_ratio (int): Factor by which height and width are reduced for keys and values;
            1 keeps all tokens, including extra tokens. Defaults to 1.
        qkv_bias (bool): Whether the projections have a bias. Defaults to True.
        attn_drop_rate (float): Dropout of the attention weights. Defaults to 0.
        drop_rate (float): Dropout of the output. Defaults to 0.
        norm_eps (float): Epsilon of the norm of the reduced map. Defaults to 1e-6.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        sr_ratio: int = 1,
        qkv_bias: bool = True,
        attn_drop_rate: float = 0.0,
        drop_rate: float = 0.0,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__()
        check_heads(embed_dims, num_heads)
        self.num_heads = num_heads
        self.attn_drop_rate = attn_drop_rate
        self.q = nn.Linear(embed_dims, embed_dims, bias=qkv_bias)
        self.kv = nn.Linear(embed_dims, embed_dims * 2, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(drop_rate)
        self.sr = None
        if sr_ratio > 1:
            self.sr = nn.Conv2d(embed_dims, embed_dims, sr_ratio, stride=sr_ratio)
            self.norm = nn.LayerNorm(embed_dims, eps=norm_eps)

    def forward(self, x: Tensor, hw: tuple[int, int]) -> Tensor:
        """Apply attention from all tokens to the reduced map.

        Args:
            x (Tensor): Tokens (B, N, C), without extra tokens if ``sr_ratio > 1``.
            hw (tuple[int, int]): Height and width of the grid.

        Returns:
            Tensor: Tokens (B, N, C).
        """
        source = x
        if self.sr is not None:
            source = self.norm(map_to_tokens(self.sr(tokens_to_map(x, hw))))
        query = split_heads(self.q(x), self.num_heads)
        key, value = split_joint(self.kv(source), 2, self.num_heads)
        out = attend(query, key, value, dropout_p=self.attn_drop_rate if self.training else 0.0)
        return self.proj_drop(self.proj(join_heads(out)))


class PVTBlock(StageBlock):
    """PVT block; ``**attn`` is passed to :class:`SpatialReductionAttention`."""

    def build_attention(
        self, embed_dims: int, num_heads: int, drop_rate: float, norm_eps: float, **kwargs
    ) -> nn.Module:
        """Build the attention."""
        return SpatialReductionAttention(
            embed_dims, num_heads, drop_rate=drop_rate, norm_eps=norm_eps, **kwargs
        )

    def build_mlp(self, embed_dims: int, hidden_dims: int, drop_rate: float) -> nn.Module:
        """Build the MLP."""
        return Mlp(embed_dims, hidden_dims, drop=drop_rate)


class PVTStage(TokenStage):
    """Patch embedding, position embedding and blocks at one resolution.

    Args:
        in_channels (int): Channels of the input map.
        embed_dims (int): Channels of the tokens.
        patch_size (int): Size and stride of the patches.
        grid (tuple[int, int]): Grid for which the position embedding is created.
        blocks (Sequence[nn.Module]): Blocks of the stage in order.
        with_cls_token (bool): Whether to prepend a class token. Defaults to False.
        with_pos_embed (bool): Whether to learn a position embedding. Defaults to True.
        drop_rate (float): Dropout after the position embedding. Defaults to 0.
        norm_eps (float): Epsilon of the patch norm. Defaults to 1e-6.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dims: int,
        patch_size: int,
        grid: tuple[int, int],
        blocks: Sequence[nn.Module],
        with_cls_token: bool = False,
        with_pos_embed: bool = True,
        drop_rate: float = 0.0,
        norm_eps: float = 1e-6,
    ) -> None:
        super().__init__(
            in_channels,
            embed_dims,
            patch_size,
            patch_size,
            0,
            blocks,
            with_cls_token,
            drop_rate,
            norm_eps,
        )
        self.grid = grid
        self.pos_embed = None
        if with_pos_embed:
            length = grid[0] * grid[1] + self.num_extra_tokens
            self.pos_embed = nn.Parameter(torch.zeros(1, length, embed_dims))
            trunc_normal_(self.pos_embed, std=0.02)
            self._register_load_state_dict_pre_hook(self._fit_loaded_pos_embed)

    def _fit_loaded_pos_embed(self, state_dict: dict, prefix: str, *_) -> None:
        key = f"{prefix}pos_embed"
        extra = self.num_extra_tokens
        fit_loaded_positions(state_dict, key, self.pos_embed, self.grid, extra, "bilinear")

    def add_positions(self, x: Tensor, hw: tuple[int, int]) -> Tensor:
        """Add the position embedding, resized to the grid, to tokens (B, extra + N, C)."""
        if self.pos_embed is None:
            return x
        extra = self.num_extra_tokens
        return x + resize_positions(self.pos_embed, self.grid, hw, extra, "bilinear")


@MODELS.register_module()
class PVT(StagedBackbone):
    """Pyramid Vision Transformer, first version, with its class token.

    `Pyramid Vision Transformer: A Versatile Backbone for Dense Prediction without
    Convolutions <https://arxiv.org/abs/2102.12122>`_. mmdet and mmseg have the variant
    for dense prediction; this is the variant for classification with a class token, which
    is added in the last stage. Images may have any size: position embeddings are
    interpolated bilinearly to the grid.

    Args:
        arch (str | dict): A name in ``PVT.arch_zoo``, or a dict with ``embed_dims``,
            ``depths``, ``num_heads``, ``mlp_ratios``, ``sr_ratios`` and ``patch_sizes``, each a
            sequence with one entry per stage. Defaults to "tiny".
        img_size (int | tuple[int, int]): Image size for which position embeddings are
            created. Defaults to 224.
        in_channels (int): Channels of the image. Defaults to 3.
        with_cls_token (bool): Whether the last stage has a class token. Defaults to True.
        with_pos_embed (bool): Whether to learn position embeddings. Defaults to True.
        qkv_bias (bool): Whether queries, keys and values have a bias. Defaults to True.
        drop_rate (float): Dropout of embeddings and projections. Defaults to 0.
        attn_drop_rate (float): Dropout of attention weights. Defaults to 0.
        drop_path_rate (float): Stochastic depth rate of the last block; it increases linearly
            from zero. Defaults to 0.
        norm_eps (float): Epsilon of all norm layers. Defaults to 1e-6.
        **kwargs: ``out_type``, ``out_indices``, ``out_norm``, ``frozen_stages``, ``with_cp`` and
            ``init_cfg`` of :class:`StagedBackbone`.

    Examples:
        >>> import torch
        >>> from smallvit.backbones import PVT
        >>> model = PVT("tiny", img_size=64)
        >>> outputs = model(torch.rand(1, 3, 64, 64))
        >>> tuple(outputs[-1].shape)
        (1, 512)
    """

    arch_zoo = {
        name: {
            "embed_dims": (64, 128, 320, 512),
            "depths": depths,
            "num_heads": (1, 2, 5, 8),
            "mlp_ratios": (8, 8, 4, 4),
            "sr_ratios": (8, 4, 2, 1),
            "patch_sizes": (4, 2, 2, 2),
        }
        for name, depths in {
            "tiny": (2, 2, 2, 2),
            "small": (3, 4, 6, 3),
            "medium": (3, 4, 18, 3),
            "large": (3, 8, 27, 3),
        }.items()
    }

    def __init__(
        self,
        arch: str | dict = "tiny",
        img_size: int | tuple[int, int] = 224,
        in_channels: int = 3,
        with_cls_token: bool = True,
        with_pos_embed: bool = True,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        norm_eps: float = 1e-6,
        **kwargs,
    ) -> None:
        settings = resolve_arch(arch, self.arch_zoo, type(self).__name__)
        depths = settings["depths"]
        rates = torch.linspace(0, drop_path_rate, sum(depths)).split(list(depths))
        grid, stages = to_2tuple(img_size), []
        for index, embed_dims in enumerate(settings["embed_dims"]):
            patch_size = settings["patch_sizes"][index]
            grid = (grid[0] // patch_size, grid[1] // patch_size)
            blocks = [
                PVTBlock(
                    embed_dims,
                    settings["num_heads"][index],
                    mlp_ratio=settings["mlp_ratios"][index],
                    sr_ratio=settings["sr_ratios"][index],
                    drop_path_rate=rate,
                    drop_rate=drop_rate,
                    attn_drop_rate=attn_drop_rate,
                    qkv_bias=qkv_bias,
                    norm_eps=norm_eps,
                )
                for rate in rates[index].tolist()
            ]
            stages.append(
                PVTStage(
                    in_channels,
                    embed_dims,
                    patch_size,
                    grid,
                    blocks,
                    with_cls_token=with_cls_token and index == len(depths) - 1,
                    with_pos_embed=with_pos_embed,
                    drop_rate=drop_rate,
                    norm_eps=norm_eps,
                )
            )
            in_channels = embed_dims
        super().__init__(stages, settings["embed_dims"], norm_eps, **kwargs)
