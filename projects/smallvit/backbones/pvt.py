"""Pyramid Vision Transformer with a class token."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.layers import DropPath, resample_abs_pos_embed, to_2tuple, trunc_normal_
from torch import Tensor, nn

from smallvit.layers.arch import resolve_arch
from smallvit.layers.mlp import Mlp
from smallvit.layers.stages import LINEAR_INIT, StagedBackbone
from smallvit.layers.tokens import map_to_tokens, tokens_to_map
from smallvit.registry import MODELS


class SpatialReductionAttention(nn.Module):
    """Self-attention whose keys and values come from a shrunken map.

    Args:
        embed_dims (int): Channels.
        num_heads (int): Attention heads.
        sr_ratio (int): Factor by which height and width shrink for keys and values;
            1 keeps all tokens, extra tokens included. Defaults to 1.
        qkv_bias (bool): Whether the projections have a bias. Defaults to True.
        attn_drop_rate (float): Dropout of the attention weights. Defaults to 0.
        drop_rate (float): Dropout of the output. Defaults to 0.
        norm_eps (float): Epsilon of the norm of the shrunken map. Defaults to 1e-6.
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
        if embed_dims % num_heads:
            raise ValueError(
                f"embed_dims={embed_dims} is not a multiple of num_heads={num_heads}; change one"
            )
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
        """Attend from all tokens to the shrunken map.

        Args:
            x (Tensor): Tokens (B, N, C); without extra tokens where ``sr_ratio > 1``.
            hw (tuple[int, int]): Height and width of the grid.

        Returns:
            Tensor: Tokens (B, N, C).
        """
        source = x
        if self.sr is not None:
            source = self.norm(map_to_tokens(self.sr(tokens_to_map(x, hw))))
        query = self.q(x).unflatten(2, (self.num_heads, -1)).transpose(1, 2)
        pair = self.kv(source).unflatten(2, (2, self.num_heads, -1))
        key, value = pair.permute(2, 0, 3, 1, 4).unbind(0)
        out = F.scaled_dot_product_attention(
            query, key, value, dropout_p=self.attn_drop_rate if self.training else 0.0
        )
        return self.proj_drop(self.proj(out.transpose(1, 2).flatten(2)))


class PVTBlock(nn.Module):
    """Pre-norm transformer block with spatial-reduction attention.

    Args:
        embed_dims (int): Channels.
        num_heads (int): Attention heads.
        mlp_ratio (float): Hidden channels of the MLP as a multiple. Defaults to 4.
        drop_path_rate (float): Stochastic depth. Defaults to 0.
        drop_rate (float): Dropout after projections. Defaults to 0.
        norm_eps (float): Epsilon of the norms. Defaults to 1e-6.
        **attn (dict): Passed to :class:`SpatialReductionAttention`.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        drop_rate: float = 0.0,
        norm_eps: float = 1e-6,
        **attn,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dims, eps=norm_eps)
        self.attn = SpatialReductionAttention(
            embed_dims, num_heads, drop_rate=drop_rate, norm_eps=norm_eps, **attn
        )
        self.drop_path = DropPath(drop_path_rate)
        self.norm2 = nn.LayerNorm(embed_dims, eps=norm_eps)
        self.mlp = Mlp(embed_dims, int(embed_dims * mlp_ratio), drop=drop_rate)

    def forward(self, x: Tensor, hw: tuple[int, int]) -> Tensor:
        """Transform tokens (B, N, C) of a grid of height and width ``hw``."""
        x = x + self.drop_path(self.attn(self.norm1(x), hw))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class PVTStage(nn.Module):
    """Patch embedding, position embedding and blocks of one resolution.

    Args:
        in_channels (int): Channels of the incoming map.
        embed_dims (int): Channels of the tokens.
        patch_size (int): Size and stride of the patches.
        grid (tuple[int, int]): Grid for which the position embedding is made.
        blocks (Sequence[nn.Module]): The blocks.
        with_cls_token (bool): Whether a class token joins here. Defaults to False.
        with_pos_embed (bool): Whether there is a position embedding. Defaults to True.
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
        super().__init__()
        self.grid = grid
        self.num_extra_tokens = int(with_cls_token)
        self.proj = nn.Conv2d(in_channels, embed_dims, patch_size, stride=patch_size)
        self.norm = nn.LayerNorm(embed_dims, eps=norm_eps)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dims)) if with_cls_token else None
        self.pos_embed = None
        if with_pos_embed:
            length = grid[0] * grid[1] + self.num_extra_tokens
            self.pos_embed = nn.Parameter(torch.zeros(1, length, embed_dims))
        self.drop_after_pos = nn.Dropout(drop_rate)
        self.blocks = nn.ModuleList(blocks)
        for parameter in (self.cls_token, self.pos_embed):
            if parameter is not None:
                trunc_normal_(parameter, std=0.02)
        self._register_load_state_dict_pre_hook(self._resize_loaded_pos_embed)

    def _resize_loaded_pos_embed(self, state_dict: dict, prefix: str, *_) -> None:
        """Fit the position embedding of a checkpoint that was trained at another size."""
        name = f"{prefix}pos_embed"
        loaded = state_dict.get(name)
        if loaded is None or self.pos_embed is None or loaded.shape == self.pos_embed.shape:
            return
        side = round((loaded.shape[1] - self.num_extra_tokens) ** 0.5)
        if side * side + self.num_extra_tokens == loaded.shape[1]:
            state_dict[name] = self._resize(loaded, (side, side), self.grid)

    def _resize(self, pos_embed: Tensor, source: tuple, target: tuple) -> Tensor:
        if source == target:
            return pos_embed
        return resample_abs_pos_embed(
            pos_embed,
            new_size=list(target),
            old_size=list(source),
            num_prefix_tokens=self.num_extra_tokens,
            interpolation="bilinear",
            antialias=False,
        )

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Cut a map into tokens and add the class token and the positions.

        Args:
            x (Tensor): Incoming map (B, C_in, H, W).

        Returns:
            tuple[Tensor, tuple[int, int]]: Tokens (B, extra + N, C) and the grid.
        """
        x = self.proj(x)
        hw = tuple(x.shape[2:])
        x = self.norm(map_to_tokens(x))
        if self.cls_token is not None:
            x = torch.cat((self.cls_token.expand(x.shape[0], -1, -1), x), dim=1)
        if self.pos_embed is not None:
            x = x + self._resize(self.pos_embed, self.grid, hw)
        return self.drop_after_pos(x), hw


@MODELS.register_module()
class PVT(StagedBackbone):
    """Pyramid Vision Transformer, first version, with its class token.

    `Pyramid Vision Transformer: A Versatile Backbone for Dense Prediction without
    Convolutions <https://arxiv.org/abs/2102.12122>`_. mmdet and mmseg keep the variant
    for dense prediction; this is the one that classifies by a class token, which joins
    in the last stage. It takes images of any size: position embeddings are resized
    bilinearly to the grid at hand.

    Args:
        arch (str | dict): A name in ``PVT.arch_zoo``, or a dict with ``embed_dims``,
            ``depths``, ``num_heads``, ``mlp_ratios``, ``sr_ratios`` and ``patch_sizes``, a
            sequence with one entry for each stage each. Defaults to "tiny".
        img_size (int | tuple[int, int]): Image size for which position embeddings are
            made. Defaults to 224.
        in_channels (int): Channels of the image. Defaults to 3.
        out_type (str): What to return. "cls_token" (B, C) and "avg_featmap" (B, C) are for
            classification, "raw" is the normed tokens (B, 1 + N, C) of the last stage,
            "featmap" the maps (B, C_i, H_i, W_i) of the stages in ``out_indices``.
            Defaults to "cls_token".
        out_indices (int | Sequence[int]): Stages to return with "featmap". Defaults to -1.
        out_norm (bool): Whether each map of "featmap" is normed, as dense heads that do not
            norm their input like it. Defaults to False.
        with_cls_token (bool): Whether there is a class token. Defaults to True.
        with_pos_embed (bool): Whether there are position embeddings. Defaults to True.
        qkv_bias (bool): Whether query, key and value have a bias. Defaults to True.
        drop_rate (float): Dropout of embeddings and projections. Defaults to 0.
        attn_drop_rate (float): Dropout of attention weights. Defaults to 0.
        drop_path_rate (float): Stochastic depth of the last block; it grows linearly from
            zero. Defaults to 0.
        norm_eps (float): Epsilon of all norms. Defaults to 1e-6.
        frozen_stages (int): Stages ``0 .. frozen_stages`` are not trained; -1 trains all.
            Defaults to -1.
        with_cp (bool): Whether to save memory by gradient checkpointing. Defaults to False.
        init_cfg (dict | list[dict], optional): MMEngine initialisation. Defaults to a
            truncated normal of 0.02 for linear layers.
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
        out_type: str = "cls_token",
        out_indices: int | Sequence[int] = -1,
        out_norm: bool = False,
        with_cls_token: bool = True,
        with_pos_embed: bool = True,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        norm_eps: float = 1e-6,
        frozen_stages: int = -1,
        with_cp: bool = False,
        init_cfg: dict | list | None = LINEAR_INIT,
    ) -> None:
        settings = resolve_arch(arch, self.arch_zoo, type(self).__name__)
        depths = settings["depths"]
        super().__init__(
            len(depths),
            out_type,
            out_indices,
            with_cls_token,
            out_norm=out_norm,
            frozen_stages=frozen_stages,
            with_cp=with_cp,
            init_cfg=init_cfg,
        )
        rates = torch.linspace(0, drop_path_rate, sum(depths)).split(list(depths))
        grid = to_2tuple(img_size)
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
            self.stages.append(
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
        self.finish(settings["embed_dims"], norm_eps)
