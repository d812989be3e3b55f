"""Adapters for timm models."""

from torch import Tensor, nn

from smallvit.hosts.grids import ArgumentGrid, WatchedGrid
from smallvit.hosts.view import HostBlock, register_host


def _grid_of_image(module: nn.Module, inputs: tuple, output: Tensor) -> tuple[int, int]:
    height, width = inputs[0].shape[-2:]
    return module.dynamic_feat_size((height, width))


def _grid_of_pooled(module: nn.Module, inputs: tuple, output: tuple) -> tuple[int, int]:
    return tuple(output[0].shape[-2:])


def _grid_of_pair(module: nn.Module, inputs: tuple, output: None) -> tuple[int, int]:
    return tuple(inputs[0][0].shape[-2:])


@register_host(
    "timm.models.vision_transformer.VisionTransformer",
    "timm.models.convit.ConVit",
    "timm.models.cait.Cait",
)
def vision_transformer(host: nn.Module) -> list[HostBlock]:
    """VisionTransformer, ConViT and CaiT; the latter two add the class token later."""
    grid = WatchedGrid(host.patch_embed, _grid_of_image)
    extra = getattr(host, "num_prefix_tokens", 1)
    return [
        HostBlock(module, host.embed_dim, grid, max_extra_tokens=extra) for module in host.blocks
    ]


@register_host("timm.models.pit.PoolingVisionTransformer")
def pit(host: nn.Module) -> list[HostBlock]:
    """PiT: stages that take and return a map and the extra tokens."""
    blocks = []
    for index, stage in enumerate(host.transformers):
        if stage.pool is None:
            grid = WatchedGrid(stage, _grid_of_pair, before=True)
        else:
            grid = WatchedGrid(stage.pool, _grid_of_pooled)
        blocks += [
            HostBlock(module, module.norm1.normalized_shape[0], grid, stage=index)
            for module in stage.blocks
        ]
    return blocks


@register_host("timm.models.pvt_v2.PyramidVisionTransformerV2")
def pvt_v2(host: nn.Module) -> list[HostBlock]:
    """PVTv2: stages of blocks that receive their grid."""
    grid = ArgumentGrid()
    return [
        HostBlock(module, module.norm1.normalized_shape[0], grid, stage=index, max_extra_tokens=0)
        for index, stage in enumerate(host.stages)
        for module in stage.blocks
    ]


@register_host("timm.models.swin_transformer.SwinTransformer")
def swin(host: nn.Module) -> list[HostBlock]:
    """Swin: stages of blocks on maps (B, H, W, C)."""
    return [
        HostBlock(module, module.dim, layout="BHWC", stage=index)
        for index, stage in enumerate(host.layers)
        for module in stage.blocks
    ]
