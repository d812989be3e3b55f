"""DHVT, a plain vision transformer with convolutions for small datasets."""

from collections.abc import Sequence

import numpy as np
from timm.layers import to_2tuple
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from smallvit.backbones.base import PlainViT
from smallvit.layers.arch import resolve_arch
from smallvit.layers.attention import Attention
from smallvit.layers.block import TransformerBlock
from smallvit.layers.daff import DAFF
from smallvit.layers.head_interaction import HeadInteractedAttention
from smallvit.layers.mlp import Mlp
from smallvit.layers.patch_embed import PatchEmbed
from smallvit.layers.sope import SOPE
from smallvit.registry import MODELS


class DHVTBlock(TransformerBlock):
    """Transformer block with :class:`DAFF` as the feed-forward layer.

    The arguments are those of :class:`TransformerBlock`.
    """

    def feed_forward(self, x: Tensor, hw: tuple[int, int]) -> Tensor:
        """Apply the feed-forward branch with the grid ``hw``, without its residual."""
        return self.mlp(self.norm2(x), hw)


@MODELS.register_module()
class DHVT(PlainViT):
    """Dynamic Hybrid Vision Transformer.

    From `Bridging the Gap Between Vision Transformers and Convolutional Neural Networks
    on Small Datasets <https://arxiv.org/abs/2210.05958>`_. Its three components
    (SOPE, DAFF and head tokens) can be disabled individually; without all three and with a
    position embedding it is DeiT.

    The official code has no position embedding, so images may have any height and width.
    The published models use 4 (tiny) and 8 (small) heads on CIFAR, 4 and 6 on DomainNet,
    3 and 6 on ImageNet.

    Args:
        arch (str | dict): "tiny" or "small", or a dict with ``embed_dims``,
            ``num_layers``, ``num_heads`` and ``feedforward_channels``.
            Defaults to "tiny".
        patch_size (int): Height and width of a patch, a power of two with SOPE.
            Defaults to 16.
        num_heads (int, optional): Number of heads. Defaults to None: that of ``arch`` (3 and 6).
        img_size (int | tuple[int, int]): Input size for which a position embedding is
            created. Defaults to 224.
        in_channels (int): Channels of the image. Defaults to 3.
        with_sope (bool): Whether to embed patches with :class:`SOPE`; otherwise with one
            strided convolution. Defaults to True.
        with_daff (bool): Whether to use :class:`DAFF` feed-forward layers; otherwise
            MLPs. Defaults to True.
        with_head_tokens (bool): Whether to use :class:`HeadInteractedAttention`;
            otherwise plain attention. Defaults to True.
        with_pos_embed (bool): Whether to learn a position embedding.
            Defaults to False.
        with_affine (bool): Whether SOPE has affine layers before and after its
            convolutions. Defaults to True.
        with_shortcut (bool): Whether DAFF adds the input of its depth-wise convolution
            to its output. Defaults to True.
        with_excitation (bool): Whether DAFF recalibrates the class token.
            Defaults to True.
        qkv_bias (bool): Whether queries, keys and values have a bias. Defaults to True.
        drop_rate (float): Dropout after the embedding, attention projections and MLPs.
            Defaults to 0.
        attn_drop_rate (float): Dropout of attention weights. Defaults to 0.
        drop_path_rate (float): Stochastic depth rate of the last block; it increases linearly
            from zero. Defaults to 0.
        norm_cfg (dict): Config of the norm layers of the tokens. Defaults to
            ``dict(type="LN", eps=1e-6)``.
        conv_norm_cfg (dict): Config of the norm layers of the convolutions. Defaults to
            ``dict(type="BN")``.
        sope_norm_cfg (dict, optional): Config of the norm layers in :class:`SOPE`; the
            published models use synchronized batch norm only there. Defaults to None:
            ``conv_norm_cfg``.
        final_norm (bool): Whether to normalize the last block's output. Defaults to True.
        out_indices (int | Sequence[int]): Blocks whose outputs are returned.
            Defaults to -1.
        out_type (str): "cls_token", "avg_featmap", "featmap" or "raw", see
            :class:`PlainViT`. Defaults to "cls_token".
        frozen_stages (int): -1 freezes nothing, 0 the embedding, n also the first n
            blocks. Defaults to -1.
        norm_eval (bool): Whether batch norms use fixed running statistics in training, as the
            official code does in fine-tuning. Defaults to False.
        with_cp (bool): Whether to use gradient checkpointing. Defaults to False.
        init_cfg (dict | list, optional): Config of MMEngine's initialization.
            Defaults to None.

    Raises:
        ValueError: If an option of a disabled component is set.

    Examples:
        >>> import torch
        >>> from smallvit.backbones import DHVT
        >>> model = DHVT("tiny", patch_size=4)
        >>> outputs = model(torch.rand(1, 3, 32, 32))
        >>> tuple(outputs[-1].shape)
        (1, 192)
    """

    arch_zoo = {
        "tiny": dict(embed_dims=192, num_layers=12, num_heads=3, feedforward_channels=768),
        "small": dict(embed_dims=384, num_layers=12, num_heads=6, feedforward_channels=1536),
    }

    def __init__(
        self,
        arch: str | dict = "tiny",
        patch_size: int = 16,
        num_heads: int | None = None,
        img_size: int | tuple[int, int] = 224,
        in_channels: int = 3,
        with_sope: bool = True,
        with_daff: bool = True,
        with_head_tokens: bool = True,
        with_pos_embed: bool = False,
        with_affine: bool = True,
        with_shortcut: bool = True,
        with_excitation: bool = True,
        qkv_bias: bool = True,
        drop_rate: float = 0.0,
        attn_drop_rate: float = 0.0,
        drop_path_rate: float = 0.0,
        norm_cfg: dict | None = None,
        conv_norm_cfg: dict | None = None,
        sope_norm_cfg: dict | None = None,
        final_norm: bool = True,
        out_indices: int | Sequence[int] = -1,
        out_type: str = "cls_token",
        frozen_stages: int = -1,
        norm_eval: bool = False,
        with_cp: bool = False,
        init_cfg: dict | list | None = None,
    ) -> None:
        _check_part("with_sope", with_sope, with_affine=with_affine)
        inner = dict(with_shortcut=with_shortcut, with_excitation=with_excitation)
        _check_part("with_daff", with_daff, **inner)
        settings = resolve_arch(arch, self.arch_zoo, "DHVT")
        dims, hidden = settings["embed_dims"], settings["feedforward_channels"]
        attention = HeadInteractedAttention if with_head_tokens else Attention

        def block(drop_path: float) -> nn.Module:
            attn = attention(
                dims,
                num_heads or settings["num_heads"],
                qkv_bias=qkv_bias,
                attn_drop_rate=attn_drop_rate,
                proj_drop_rate=drop_rate,
            )
            if with_daff:
                mlp = DAFF(dims, hidden, norm_cfg=conv_norm_cfg, **inner)
                return DHVTBlock(dims, attn, mlp, drop_path, norm_cfg=norm_cfg)
            mlp = Mlp(dims, hidden, drop=drop_rate)
            return TransformerBlock(dims, attn, mlp, drop_path, norm_cfg=norm_cfg)

        if with_sope:
            sope_norm_cfg = sope_norm_cfg or conv_norm_cfg
            patch_embed = SOPE(
                dims, patch_size, in_channels, with_affine=with_affine, norm_cfg=sope_norm_cfg
            )
        else:
            patch_embed = PatchEmbed(dims, patch_size, in_channels)
        rates = np.linspace(0, drop_path_rate, settings["num_layers"]).tolist()
        super().__init__(
            patch_embed,
            [block(rate) for rate in rates],
            dims,
            pos_embed="learnable" if with_pos_embed else None,
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
        self.norm_eval = norm_eval

    def train(self, mode: bool = True) -> "DHVT":
        """Set the mode; with ``norm_eval``, batch norms stay in evaluation mode."""
        super().train(mode)
        if self.norm_eval:
            for module in self.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()
        return self


def _check_part(part: str, is_there: bool, **switches: bool) -> None:
    """Raise an error if an option of a disabled component is set."""
    for name, value in switches.items():
        if not value and not is_there:
            raise ValueError(f"{name}=False has no effect with {part}=False. Remove one of them")
