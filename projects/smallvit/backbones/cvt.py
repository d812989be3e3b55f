"""Convolutional vision Transformer."""

import torch
from torch import Tensor, nn

from smallvit.backbones.base import StageBlock, StagedBackbone, TokenStage
from smallvit.layers.arch import resolve_arch
from smallvit.layers.attention_form import attend
from smallvit.layers.depthwise import DepthwiseConvBN
from smallvit.layers.heads import check_heads, join_heads, split_heads
from smallvit.layers.quick_gelu import QuickGELUMlp
from smallvit.layers.tokens import map_to_tokens, tokens_to_map
from smallvit.registry import MODELS


class ConvAttention(nn.Module):
    """Self-attention with a depth-wise convolution before the query, key and value projections.

    Args:
        embed_dims (int): Channels of the tokens.
        num_heads (int): Number of attention heads.
        kernel_size (int): Kernel size of the convolutions. Defaults to 3.
        stride_kv (int): Stride of the convolutions for keys and values. Defaults to 2.
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
        check_heads(embed_dims, num_heads)
        self.num_heads = num_heads
        self.attn_drop_rate = attn_drop_rate
        # CvT was trained with a scale computed from embed_dims instead of the head dimension.
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
        return split_heads(linear(tokens), self.num_heads)

    def forward(self, x: Tensor, hw: tuple[int, int]) -> Tensor:
        """Apply attention over all tokens.

        Args:
            x (Tensor): Tokens (B, extra + H * W, C); extra tokens bypass the convolutions.
            hw (tuple[int, int]): Height and width of the grid.

        Returns:
            Tensor: Tokens (B, extra + H * W, C).
        """
        extra, patches = x.split((x.shape[1] - hw[0] * hw[1], hw[0] * hw[1]), dim=1)
        feature = tokens_to_map(patches, hw)
        out = attend(
            self._project(self.conv_q, self.q, feature, extra),
            self._project(self.conv_k, self.k, feature, extra),
            self._project(self.conv_v, self.v, feature, extra),
            dropout_p=self.attn_drop_rate if self.training else 0.0,
            scale=self.scale,
        )
        return self.proj_drop(self.proj(join_heads(out)))


class CvTBlock(StageBlock):
    """CvT block; ``**attn`` is passed to :class:`ConvAttention`."""

    def build_attention(
        self, embed_dims: int, num_heads: int, drop_rate: float, norm_eps: float, **kwargs
    ) -> nn.Module:
        """Build the attention."""
        return ConvAttention(embed_dims, num_heads, drop_rate=drop_rate, **kwargs)

    def build_mlp(self, embed_dims: int, hidden_dims: int, drop_rate: float) -> nn.Module:
        """Build the MLP."""
        return QuickGELUMlp(embed_dims, hidden_dims, drop_rate)


class CvTStage(TokenStage):
    """Convolutional token embedding and blocks at one resolution, see :class:`TokenStage`."""


@MODELS.register_module()
class CvT(StagedBackbone):
    """Convolutional vision Transformer.

    `CvT: Introducing Convolutions to Vision Transformers
    <https://arxiv.org/abs/2103.15808>`_. Token embeddings and the query, key and value
    projections contain convolutions; without position embeddings, images may have any size.

    Args:
        arch (str | dict): A name in ``CvT.arch_zoo``, or a dict with ``embed_dims``,
            ``depths``, ``num_heads``, ``mlp_ratios``, and ``kernel_sizes``, ``strides`` and
            ``paddings`` of the embeddings, each a sequence with one entry per stage.
            Defaults to "13".
        in_channels (int): Channels of the image. Defaults to 3.
        with_cls_token (bool): Whether the last stage has a class token. Defaults to True.
        kernel_size (int): Kernel size of the convolutions in the attention. Defaults to 3.
        stride_kv (int): Stride of the convolutions for keys and values. Defaults to 2.
        qkv_bias (bool): Whether queries, keys and values have a bias. Defaults to True.
        drop_rate (float): Dropout of embeddings and projections. Defaults to 0.
        attn_drop_rate (float): Dropout of attention weights. Defaults to 0.
        drop_path_rate (float): Stochastic depth rate of the last block; it increases linearly
            from zero within the last stage, and is zero in earlier stages. Defaults to 0.
        norm_eps (float): Epsilon of the layer norms. Defaults to 1e-5.
        **kwargs: ``out_type``, ``out_indices``, ``out_norm``, ``frozen_stages``, ``with_cp`` and
            ``init_cfg`` of :class:`StagedBackbone`.

    Examples:
        >>> import torch
        >>> from smallvit.backbones import CvT
        >>> model = CvT("13")
        >>> outputs = model(torch.rand(1, 3, 64, 64))
        >>> tuple(outputs[-1].shape)
        (1, 384)
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
        with_cls_token: bool = True,
        kernel_size: int = 3,
        stride_kv: int = 2,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        norm_eps: float = 1e-5,
        **kwargs,
    ) -> None:
        settings = resolve_arch(arch, self.arch_zoo, type(self).__name__)
        depths = settings["depths"]
        stages = []
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
            stages.append(
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
        super().__init__(stages, settings["embed_dims"], norm_eps, **kwargs)
