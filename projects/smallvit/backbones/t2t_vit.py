"""Tokens-to-Token ViT with both token encoders."""

from collections.abc import Sequence

import numpy as np
from timm.layers import to_2tuple

from smallvit.backbones.base import PlainViT
from smallvit.layers.arch import resolve_arch
from smallvit.layers.attention import Attention
from smallvit.layers.block import TransformerBlock
from smallvit.layers.mlp import Mlp
from smallvit.layers.tokens_to_token import TokensToToken
from smallvit.registry import MODELS

TOKEN_GRIDS = {
    14: dict(kernel_sizes=(7, 3, 3), strides=(4, 2, 2), paddings=(2, 1, 1)),
    10: dict(kernel_sizes=(11, 3, 3), strides=(6, 2, 2), paddings=(5, 1, 1)),
    7: dict(kernel_sizes=(14, 3, 3), strides=(8, 2, 2), paddings=(3, 1, 1)),
}


@MODELS.register_module()
class T2TViT(PlainViT):
    """Tokens-to-Token Vision Transformer.

    From `Tokens-to-Token ViT: Training Vision Transformers from Scratch on ImageNet
    <https://arxiv.org/abs/2101.11986>`_, as used in tiny-transformers (LayerNorm eps 1e-6) and
    Dynamic-Vision-Transformer (eps 1e-5). MMPretrain's ``T2T_ViT`` is another variant, with
    attention scaled by the width of the tokens instead of a head, square inputs only,
    and a fixed token grid.

    Args:
        arch (str | dict): One of "7", "10", "12", "14", "19", "24", or a dict with
            ``embed_dims``, ``num_layers``, ``num_heads`` and ``feedforward_channels``.
            Defaults to "14".
        img_size (int | tuple[int, int]): Input size for which the position embedding is
            created; it is interpolated for other sizes. Defaults to 224.
        in_channels (int): Channels of the image. Defaults to 3.
        token_encoder (str): Type of the token encoders, "performer" or "transformer".
            Defaults to "performer".
        token_grid (int | dict): Tokens along each side of a 224-pixel image, 14, 10 or
            7; or a dict with ``kernel_sizes``, ``strides`` and ``paddings`` of the
            splits. Defaults to 14.
        token_dims (int): Channels within the token encoder. Defaults to 64.
        token_drop_rate (float): Dropout of the token encoder; the published recipes use 0
            (tiny-transformers) and 0.1 (DVT). Defaults to 0.
        qkv_bias (bool): Whether queries, keys and values of the blocks have a bias.
            Defaults to False.
        drop_rate (float): Dropout after the embedding, attention projections and MLPs.
            Defaults to 0.
        attn_drop_rate (float): Dropout of attention weights. Defaults to 0.
        drop_path_rate (float): Stochastic depth rate of the last block; it increases linearly
            from zero. Defaults to 0.
        norm_cfg (dict): Config of all norm layers. Defaults to ``dict(type="LN", eps=1e-6)``.
        final_norm (bool): Whether to normalize the last block's output. Defaults to True.
        out_indices (int | Sequence[int]): Blocks whose outputs are returned.
            Defaults to -1.
        out_type (str): "cls_token", "avg_featmap", "featmap" or "raw", see
            :class:`PlainViT`. Defaults to "cls_token".
        frozen_stages (int): -1 freezes nothing, 0 the embedding, n also the first n
            blocks. Defaults to -1.
        with_cp (bool): Whether to use gradient checkpointing. Defaults to False.
        init_cfg (dict | list, optional): Config of MMEngine's initialization.
            Defaults to None.

    Raises:
        ValueError: If ``token_grid`` is unknown.

    Examples:
        >>> import torch
        >>> from smallvit.backbones import T2TViT
        >>> model = T2TViT("7")
        >>> outputs = model(torch.rand(1, 3, 224, 224))
        >>> tuple(outputs[-1].shape)
        (1, 256)
    """

    arch_zoo = {
        name: dict(
            embed_dims=dims,
            num_layers=depth,
            num_heads=heads,
            feedforward_channels=ratio * dims,
        )
        for name, dims, depth, heads, ratio in (
            ("7", 256, 7, 4, 2),
            ("10", 256, 10, 4, 2),
            ("12", 256, 12, 4, 2),
            ("14", 384, 14, 6, 3),
            ("19", 448, 19, 7, 3),
            ("24", 512, 24, 8, 3),
        )
    }

    def __init__(
        self,
        arch: str | dict = "14",
        img_size: int | tuple[int, int] = 224,
        in_channels: int = 3,
        token_encoder: str = "performer",
        token_grid: int | dict = 14,
        token_dims: int = 64,
        token_drop_rate: float = 0.0,
        qkv_bias: bool = False,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        norm_cfg: dict | None = None,
        final_norm: bool = True,
        out_indices: int | Sequence[int] = -1,
        out_type: str = "cls_token",
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        settings = resolve_arch(arch, self.arch_zoo, "T2TViT")
        dims = settings["embed_dims"]
        norm_cfg = norm_cfg or dict(type="LN", eps=1e-6)
        if isinstance(token_grid, int) and token_grid not in TOKEN_GRIDS:
            raise ValueError(
                f"T2TViT: expected token_grid to be one of {list(TOKEN_GRIDS)}, or a dict of "
                f"kernel_sizes, strides and paddings, got {token_grid}"
            )
        patch_embed = TokensToToken(
            dims,
            in_channels,
            token_encoder,
            token_dims,
            drop_rate=token_drop_rate,
            norm_cfg=norm_cfg,
            **(TOKEN_GRIDS[token_grid] if isinstance(token_grid, int) else token_grid),
        )
        layers = [
            TransformerBlock(
                dims,
                Attention(
                    dims,
                    settings["num_heads"],
                    qkv_bias=qkv_bias,
                    attn_drop_rate=attn_drop_rate,
                    proj_drop_rate=drop_rate,
                ),
                Mlp(dims, settings["feedforward_channels"], drop=drop_rate),
                rate,
                norm_cfg=norm_cfg,
            )
            for rate in np.linspace(0, drop_path_rate, settings["num_layers"]).tolist()
        ]
        super().__init__(
            patch_embed,
            layers,
            dims,
            pos_embed="sinusoid",
            patch_resolution=patch_embed.grid(to_2tuple(img_size)),
            drop_rate=drop_rate,
            norm_cfg=norm_cfg,
            final_norm=final_norm,
            out_indices=out_indices,
            out_type=out_type,
            frozen_stages=frozen_stages,
            with_cp=with_cp,
            init_cfg=init_cfg,
        )
