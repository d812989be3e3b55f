"""Adapters of smallvit's own backbones."""

from torch import nn

from smallvit.hosts.grids import ArgumentGrid
from smallvit.hosts.view import HostBlock, register_host, view_host


@register_host("smallvit.backbones.base.plain_vit.PlainViT")
def plain_vit(host: nn.Module) -> list[HostBlock]:
    """DHVT, T2TViT, CaiT (its patch trunk) and others: one grid all the way."""
    grid = ArgumentGrid()
    return [HostBlock(module, host.embed_dims, grid) for module in host.layers]


@register_host("smallvit.backbones.base.staged.StagedBackbone")
def staged(host: nn.Module) -> list[HostBlock]:
    """PVT and CvT: stages of blocks that are passed their grid."""
    grid = ArgumentGrid()
    return [
        HostBlock(module, channels, grid, stage=index)
        for index, (stage, channels) in enumerate(zip(host.stages, host.embed_dims, strict=True))
        for module in stage.blocks
    ]


@register_host("smallvit.backbones.dwnet.DWNet")
def dwnet(host: nn.Module) -> list[HostBlock]:
    """Stages of blocks over maps (B, H, W, C)."""
    return [
        HostBlock(module, channels, layout="BHWC", stage=index)
        for index, (stage, channels) in enumerate(zip(host.stages, host.embed_dims, strict=True))
        for module in stage.blocks
    ]


@register_host(
    "smallvit.backbones.timm_backbone.TimmBackbone",
    "mmpretrain.models.backbones.timm_backbone.TIMMBackbone",
)
def wrapped_timm(host: nn.Module) -> tuple[HostBlock, ...]:
    """Whatever timm model is inside."""
    return view_host(host.timm_model).blocks
