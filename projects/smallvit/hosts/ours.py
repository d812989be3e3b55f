"""Adapters for smallvit's own backbones and blocks."""

from torch import nn

from smallvit.hosts.grids import ArgumentGrid
from smallvit.hosts.parts import BlockParts, register_parts
from smallvit.hosts.plain import PlainTokens, register_plain
from smallvit.hosts.view import HostBlock, register_host, view_host
from smallvit.layers.daff import DAFF
from smallvit.layers.head_interaction import HeadInteractedAttention
from smallvit.layers.talking_heads import TalkingHeadsAttention


@register_host("smallvit.backbones.base.plain_vit.PlainViT")
def plain_vit(host: nn.Module) -> list[HostBlock]:
    """DHVT, T2TViT, CaiT (its patch blocks) and other backbones with a single grid."""
    grid = ArgumentGrid()
    return [HostBlock(module, host.embed_dims, grid) for module in host.layers]


def _grid_of_image(host: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
    return host.patch_embed.grid(size)


@register_plain("smallvit.backbones.base.plain_vit.PlainViT")
def plain_vit_tokens(host: nn.Module) -> PlainTokens:
    """Plain backbones; CaiT adds its class token after these blocks, so it has no extra token."""
    extra, grid = host.num_extra_tokens, host.patch_resolution
    return PlainTokens(host, extra, grid, _grid_of_image, recomputes=host.with_cp)


@register_parts("smallvit.layers.block.TransformerBlock")
def transformer_block(block: nn.Module) -> BlockParts:
    """Blocks of DHVT, T2TViT and CaiT."""
    expand = "conv1" if isinstance(block.mlp, DAFF) else "fc1"
    talks = isinstance(block.attn, TalkingHeadsAttention)
    return BlockParts(
        block.attn,
        norm=(block, "norm2"),
        expand=(block.mlp, expand),
        head_tokens=block.attn.num_heads if isinstance(block.attn, HeadInteractedAttention) else 0,
        logits="logits" if talks else "scaled_dot_product_attention",
    )


@register_host("smallvit.backbones.base.staged.StagedBackbone")
def staged(host: nn.Module) -> list[HostBlock]:
    """PVT and CvT: stages of blocks that receive their grid."""
    grid = ArgumentGrid()
    return [
        HostBlock(module, channels, grid, stage=index)
        for index, (stage, channels) in enumerate(zip(host.stages, host.embed_dims, strict=True))
        for module in stage.blocks
    ]


@register_host("smallvit.backbones.dwnet.DWNet")
def dwnet(host: nn.Module) -> list[HostBlock]:
    """DWNet: stages of blocks on maps (B, H, W, C)."""
    return [
        HostBlock(module, channels, layout="BHWC", stage=index)
        for index, (stage, channels) in enumerate(zip(host.stages, host.embed_dims, strict=True))
        for module in stage.blocks
    ]


@register_host(
    "smallvit.backbones.timm_backbone.TimmBackbone",
    "mmpretrain.models.backbones.timm_backbone.TIMMBackbone",
    "mmseg.models.backbones.timm_backbone.TIMMBackbone",
)
def wrapped_timm(host: nn.Module) -> tuple[HostBlock, ...]:
    """Wrapped timm models, through the adapters of timm."""
    return view_host(host.timm_model).blocks
