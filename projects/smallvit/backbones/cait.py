"""CaiT with talking heads in the patch and class-attention stages."""

from collections.abc import Sequence

import torch
from timm.layers import to_2tuple
from torch import Tensor, nn

from smallvit.backbones.base import PlainViT
from smallvit.backbones.base.common import run_blocks
from smallvit.layers.arch import resolve_arch
from smallvit.layers.block import TransformerBlock
from smallvit.layers.mlp import Mlp
from smallvit.layers.patch_embed import PatchEmbed
from smallvit.layers.talking_heads import TalkingHeadsAttention
from smallvit.registry import MODELS


class ClassAttentionBlock(TransformerBlock):
    """Class-attention block: the class token attends to itself and the patch tokens.

    The arguments are those of :class:`TransformerBlock`. Patches are not normalized.
    """

    def forward(self, cls_token: Tensor, patches: Tensor) -> Tensor:
        """Update the class token.

        Args:
            cls_token (Tensor): Class tokens (B, 1, C).
            patches (Tensor): Patch tokens (B, N, C).

        Returns:
            Tensor: Updated class tokens (B, 1, C).
        """
        attended = self.attn(self.norm1(cls_token), patches)
        cls_token = cls_token + self.drop_path(self.ls1(attended))
        return cls_token + self.drop_path(self.ls2(self.mlp(self.norm2(cls_token))))


def layer_scale_by_depth(depth: int) -> float:
    """Initial layer scale of a block, smaller for deeper blocks.

    Args:
        depth (int): Position of the block in its stage, counted from 1.

    Returns:
        float: 0.1 up to block 18, 1e-5 up to block 24, 1e-6 after it.
    """
    if depth <= 18:
        return 0.1
    return 1e-5 if depth <= 24 else 1e-6


@MODELS.register_module()
class CaiT(PlainViT):
    """Class-Attention in Image Transformers.

    From `Going deeper with Image Transformers <https://arxiv.org/abs/2103.17239>`_, in
    the variant with which the depth-wise convolution shortcut was published: talking heads
    in the class-attention blocks too, layer scale initialized by the depth of each block, and
    no bias of queries, keys and values. Its published results on small datasets were obtained
    without layer scale, talking heads and position embedding.

    Args:
        arch (str | dict): "xxs12" or "xxs24", or a dict with ``embed_dims``,
            ``num_layers``, ``num_cls_layers``, ``num_heads`` and
            ``feedforward_channels``. Defaults to "xxs24".
        img_size (int | tuple[int, int]): Input size for which the position embedding is
            created; it is interpolated for other sizes. Defaults to 224.
        patch_size (int): Height and width of a patch. Defaults to 16.
        in_channels (int): Channels of the image. Defaults to 3.
        with_layer_scale (bool): Whether to use layer scale. Defaults to True.
        with_talking_heads (bool): Whether to use talking-heads attention.
            Defaults to True.
        with_pos_embed (bool): Whether to learn a position embedding. Defaults to True.
        qkv_bias (bool): Whether queries, keys and values have a bias.
            Defaults to False.
        drop_rate (float): Dropout after the embedding, attention projections and MLPs.
            Defaults to 0.
        attn_drop_rate (float): Dropout of attention weights. Defaults to 0.
        drop_path_rate (float): Stochastic depth rate of all patch blocks, as in the
            paper; the class blocks have none. Defaults to 0.
        norm_cfg (dict): Config of all norm layers. Defaults to ``dict(type="LN")``.
        final_norm (bool): Whether to normalize the last output. Defaults to True.
        out_indices (int | Sequence[int]): Patch blocks whose outputs are returned; the
            class token exists only after the last. Defaults to -1.
        out_type (str): Type of the outputs: "cls_token", "avg_featmap", "featmap" or "raw"
            (patches, preceded by the class token in the last output).
            Defaults to "cls_token".
        frozen_stages (int): -1 freezes nothing, 0 the embedding, n also the first n
            patch blocks. Defaults to -1.
        with_cp (bool): Whether to use gradient checkpointing in the patch and class blocks.
            Defaults to False.
        init_cfg (dict | list, optional): Config of MMEngine's initialization.
            Defaults to None.

    Raises:
        ValueError: If ``out_type="cls_token"`` is combined with outputs of earlier blocks.

    Examples:
        >>> import torch
        >>> from smallvit.backbones import CaiT
        >>> model = CaiT("xxs12", img_size=32, patch_size=4)
        >>> outputs = model(torch.rand(1, 3, 32, 32))
        >>> tuple(outputs[-1].shape)
        (1, 192)
    """

    arch_zoo = {
        name: dict(
            embed_dims=192,
            num_layers=depth,
            num_cls_layers=2,
            num_heads=4,
            feedforward_channels=768,
        )
        for name, depth in (("xxs12", 12), ("xxs24", 24))
    }

    def __init__(
        self,
        arch: str | dict = "xxs24",
        img_size: int | tuple[int, int] = 224,
        patch_size: int = 16,
        in_channels: int = 3,
        with_layer_scale: bool = True,
        with_talking_heads: bool = True,
        with_pos_embed: bool = True,
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
        settings = resolve_arch(arch, self.arch_zoo, "CaiT")
        dims = settings["embed_dims"]
        norm_cfg = norm_cfg or dict(type="LN")

        def block(kind: type[TransformerBlock], index: int, drop_path: float) -> nn.Module:
            attn = TalkingHeadsAttention(
                dims,
                settings["num_heads"],
                qkv_bias,
                attn_drop_rate,
                drop_rate,
                talk=with_talking_heads,
            )
            mlp = Mlp(dims, settings["feedforward_channels"], drop=drop_rate)
            scale = layer_scale_by_depth(index + 1) if with_layer_scale else None
            return kind(dims, attn, mlp, drop_path, scale, norm_cfg)

        patch_embed = PatchEmbed(dims, patch_size, in_channels)
        super().__init__(
            patch_embed,
            [block(TransformerBlock, i, drop_path_rate) for i in range(settings["num_layers"])],
            dims,
            with_cls_token=False,
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
        if out_type == "cls_token" and self.out_indices != (self.num_layers - 1,):
            raise ValueError(
                f"CaiT has no class token after blocks {self.out_indices[:-1]}. Set "
                'out_type="featmap", "avg_featmap" or "raw", or out_indices=-1'
            )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, dims))
        self.cls_layers = nn.ModuleList(
            block(ClassAttentionBlock, i, 0.0) for i in range(settings["num_cls_layers"])
        )

    def extra_tokens(self) -> list[nn.Parameter]:
        """Return no tokens, as the class token is added after the patch blocks."""
        return []

    def modules_after_blocks(self) -> list[nn.Module]:
        """Return no modules, as the class-attention blocks and the final norm are never frozen."""
        return []

    def finish(self, x: Tensor) -> Tensor:
        """Apply class attention to the patches (B, N, C) and prepend the class token."""
        cls_token = self.cls_token.expand(x.shape[0], -1, -1)
        cls_token = run_blocks(self.cls_layers, cls_token, x, with_cp=self.with_cp)
        return self.norm(torch.cat((cls_token, x), dim=1))
