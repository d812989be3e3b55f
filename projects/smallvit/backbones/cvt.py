"""Convolutional vision Transformer."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from timm.layers import DropPath, trunc_normal_
from torch import Tensor, nn

from smallvit.layers.arch import resolve_arch
from smallvit.layers.depthwise import DepthwiseConvBN
from smallvit.layers.quick_gelu import QuickGELUMlp
from smallvit.layers.stages import LINEAR_INIT, StagedBackbone
from smallvit.layers.tokens import map_to_tokens, tokens_to_map
from smallvit.registry import MODELS


class ConvAttention(nn.Module):
    """Self-attention whose query, key and value each begin with a depth-wise convolution.

    Args:
        embed_dims (int): Channels.
        num_heads (int): Attention heads.
        kernel_size (int): Kernel of the convolutions. Defaults to 3.
        stride_kv (int): Stride of the key's and value's convolutions. Defaults to 2.
        qkv_bias (bool): Whether the projections have a bias. Defaults to True.
        attn_drop_rate (float): Dropout of the attention weights. Defaults to 0.
        drop_rate (float): Dropout of the output. Defaults to 0.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        kernel_size: int = 3,
        stride_kv: int = 2,
        qkv_bias: bool = True,
        attn_drop_rate: float = 0.0,
        drop_rate: float = 0.0,
    ) -> None:
        super().__init__()
        if embed_dims % num_heads:
            raise ValueError(
                f"embed_dims={embed_dims} is not a multiple of num_heads={num_heads}; change one"
            )
        self.num_heads = num_heads
        self.attn_drop_rate = attn_drop_rate
        # CvT was trained with the scale of all channels, not of one head's.
        self.scale = embed_dims**-0.5
        padding = kernel_size // 2
        self.conv_q = DepthwiseConvBN(embed_dims, kernel_size, 1, padding)
        self.conv_k = DepthwiseConvBN(embed_dims, kernel_size, stride_kv, padding)
        self.conv_v = DepthwiseConvBN(embed_dims, kernel_size, stride_kv, padding)
        self.q = nn.Linear(embed_dims, embed_dims, bias=qkv_bias)
        self.k = nn.Linear(embed_dims, embed_dims, bias=qkv_bias)
        self.v = nn.Linear(embed_dims, embed_dims, bias=qkv_bias)
        self.proj = nn.Linear(embed_dims, embed_dims)
        self.proj_drop = nn.Dropout(drop_rate)

    def _project(
        self, conv: nn.Module, linear: nn.Module, feature: Tensor, extra: Tensor
    ) -> Tensor:
        tokens = map_to_tokens(conv(feature))
        if extra.shape[1]:
            tokens = torch.cat((extra, tokens), dim=1)
        return linear(tokens).unflatten(2, (self.num_heads, -1)).transpose(1, 2)

    def forward(self, x: Tensor, hw: tuple[int, int]) -> Tensor:
        """Attend among all tokens.

        Args:
            x (Tensor): Tokens (B, extra + H * W, C); extra tokens skip the convolutions.
            hw (tuple[int, int]): Height and width of the grid.

        Returns:
            Tensor: Tokens (B, extra + H * W, C).
        """
        extra, patches = x.split((x.shape[1] - hw[0] * hw[1], hw[0] * hw[1]), dim=1)
        feature = tokens_to_map(patches, hw)
        out = F.scaled_dot_product_attention(
            self._project(self.conv_q, self.q, feature, extra),
            self._project(self.conv_k, self.k, feature, extra),
            self._project(self.conv_v, self.v, feature, extra),
            dropout_p=self.attn_drop_rate if self.training else 0.0,
            scale=self.scale,
        )
        return self.proj_drop(self.proj(out.transpose(1, 2).flatten(2)))


class CvTBlock(nn.Module):
    """Pre-norm transformer block with convolutional attention.

    Args:
        embed_dims (int): Channels.
        num_heads (int): Attention heads.
        mlp_ratio (float): Hidden channels of the MLP as a multiple. Defaults to 4.
        drop_path_rate (float): Stochastic depth. Defaults to 0.
        drop_rate (float): Dropout after projections. Defaults to 0.
        norm_eps (float): Epsilon of the norms. Defaults to 1e-5.
        **attn (dict): Passed to :class:`ConvAttention`.
    """

    def __init__(
        self,
        embed_dims: int,
        num_heads: int,
        mlp_ratio: float = 4.0,
        drop_path_rate: float = 0.0,
        drop_rate: float = 0.0,
        norm_eps: float = 1e-5,
        **attn,
    ) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(embed_dims, eps=norm_eps)
        self.attn = ConvAttention(embed_dims, num_heads, drop_rate=drop_rate, **attn)
        self.drop_path = DropPath(drop_path_rate)
        self.norm2 = nn.LayerNorm(embed_dims, eps=norm_eps)
        self.mlp = QuickGELUMlp(embed_dims, int(embed_dims * mlp_ratio), drop_rate)

    def forward(self, x: Tensor, hw: tuple[int, int]) -> Tensor:
        """Transform tokens (B, extra + N, C) of a grid of height and width ``hw``."""
        x = x + self.drop_path(self.attn(self.norm1(x), hw))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class CvTStage(nn.Module):
    """Convolutional token embedding and blocks of one resolution.

    Args:
        in_channels (int): Channels of the incoming map.
        embed_dims (int): Channels of the tokens.
        kernel_size (int): Kernel of the embedding.
        stride (int): Stride of the embedding.
        padding (int): Padding of the embedding.
        blocks (Sequence[nn.Module]): The blocks.
        with_cls_token (bool): Whether a class token joins here. Defaults to False.
        drop_rate (float): Dropout after the embedding. Defaults to 0.
        norm_eps (float): Epsilon of the embedding's norm. Defaults to 1e-5.
    """

    def __init__(
        self,
        in_channels: int,
        embed_dims: int,
        kernel_size: int,
        stride: int,
        padding: int,
        blocks: Sequence[nn.Module],
        with_cls_token: bool = False,
        drop_rate: float = 0.0,
        norm_eps: float = 1e-5,
    ) -> None:
        super().__init__()
        self.num_extra_tokens = int(with_cls_token)
        self.proj = nn.Conv2d(in_channels, embed_dims, kernel_size, stride, padding)
        self.norm = nn.LayerNorm(embed_dims, eps=norm_eps)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, embed_dims)) if with_cls_token else None
        self.drop_after_embed = nn.Dropout(drop_rate)
        self.blocks = nn.ModuleList(blocks)
        if with_cls_token:
            trunc_normal_(self.cls_token, std=0.02)

    def embed(self, x: Tensor) -> tuple[Tensor, tuple[int, int]]:
        """Turn a map into tokens and add the class token.

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
        return self.drop_after_embed(x), hw


@MODELS.register_module()
class CvT(StagedBackbone):
    """Convolutional vision Transformer.

    `CvT: Introducing Convolutions to Vision Transformers
    <https://arxiv.org/abs/2103.15808>`_. Tokens are made, and queries, keys and values
    begin, with convolutions; there is no position embedding, so images may have any size.

    Args:
        arch (str | dict): A name in ``CvT.arch_zoo``, or a dict with ``embed_dims``,
            ``depths``, ``num_heads``, ``mlp_ratios``, and ``kernel_sizes``, ``strides`` and
            ``paddings`` of the embeddings, a sequence with one entry for each stage each.
            Defaults to "13".
        in_channels (int): Channels of the image. Defaults to 3.
        out_type (str): What to return. "cls_token" (B, C) and "avg_featmap" (B, C) are for
            classification, "raw" is the normed tokens (B, 1 + N, C) of the last stage,
            "featmap" the maps (B, C_i, H_i, W_i) of the stages in ``out_indices``.
            Defaults to "cls_token".
        out_indices (int | Sequence[int]): Stages to return with "featmap". Defaults to -1.
        out_norm (bool): Whether each map of "featmap" is normed, as dense heads that do not
            norm their input like it. Defaults to False.
        with_cls_token (bool): Whether the last stage has a class token. Defaults to True.
        kernel_size (int): Kernel of the convolutions in the attention. Defaults to 3.
        stride_kv (int): Stride of the key's and value's convolutions. Defaults to 2.
        qkv_bias (bool): Whether query, key and value have a bias. Defaults to True.
        drop_rate (float): Dropout of embeddings and projections. Defaults to 0.
        attn_drop_rate (float): Dropout of attention weights. Defaults to 0.
        drop_path_rate (float): Stochastic depth of the last block; within the last stage it
            grows linearly from zero, the stages before have none. Defaults to 0.
        norm_eps (float): Epsilon of the layer norms. Defaults to 1e-5.
        frozen_stages (int): Stages ``0 .. frozen_stages`` are not trained; -1 trains all.
            Defaults to -1.
        with_cp (bool): Whether to save memory by gradient checkpointing. Defaults to False.
        init_cfg (dict | list[dict], optional): MMEngine initialisation. Defaults to a
            truncated normal of 0.02 for linear layers.
    """

    arch_zoo = {
        name: dict(
            embed_dims=(64, 192, 384),
            depths=depths,
            num_heads=(1, 3, 6),
            mlp_ratios=(4, 4, 4),
            kernel_sizes=(7, 3, 3),
            strides=(4, 2, 2),
            paddings=(2, 1, 1),
        )
        for name, depths in {"13": (1, 2, 10), "21": (1, 4, 16)}.items()
    }

    def __init__(
        self,
        arch: str | dict = "13",
        in_channels: int = 3,
        out_type: str = "cls_token",
        out_indices: int | Sequence[int] = -1,
        out_norm: bool = False,
        with_cls_token: bool = True,
        kernel_size: int = 3,
        stride_kv: int = 2,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        norm_eps: float = 1e-5,
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
        for index, embed_dims in enumerate(settings["embed_dims"]):
            last = index == len(depths) - 1
            rates = torch.linspace(0, drop_path_rate if last else 0, depths[index])
            blocks = [
                CvTBlock(
                    embed_dims,
                    settings["num_heads"][index],
                    mlp_ratio=settings["mlp_ratios"][index],
                    drop_path_rate=rate,
                    drop_rate=drop_rate,
                    attn_drop_rate=attn_drop_rate,
                    norm_eps=norm_eps,
                    kernel_size=kernel_size,
                    stride_kv=stride_kv,
                    qkv_bias=qkv_bias,
                )
                for rate in rates.tolist()
            ]
            self.stages.append(
                CvTStage(
                    in_channels,
                    embed_dims,
                    settings["kernel_sizes"][index],
                    settings["strides"][index],
                    settings["paddings"][index],
                    blocks,
                    with_cls_token=with_cls_token and last,
                    drop_rate=drop_rate,
                    norm_eps=norm_eps,
                )
            )
            in_channels = embed_dims
        self.finish(settings["embed_dims"], norm_eps)
