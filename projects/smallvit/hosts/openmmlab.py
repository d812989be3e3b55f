"""Adapters for the backbones of MMPretrain, mmdet and mmseg."""

from torch import nn

from smallvit.hosts.grids import ArgumentGrid, WatchedGrid
from smallvit.hosts.parts import BlockParts, register_parts
from smallvit.hosts.plain import PlainTokens, register_plain
from smallvit.hosts.view import HostBlock, register_host


def _second_output(module: nn.Module, inputs: tuple, output: tuple) -> tuple[int, int]:
    return output[1]


@register_host(
    "mmpretrain.models.backbones.vision_transformer.VisionTransformer",
    "mmseg.models.backbones.vit.VisionTransformer",
)
def vision_transformer(host: nn.Module) -> list[HostBlock]:
    """VisionTransformer and its subclasses, including DistilledVisionTransformer (DeiT)."""
    grid = WatchedGrid(host.patch_embed, _second_output)
    return [HostBlock(module, host.patch_embed.embed_dims, grid) for module in host.layers]


def _grid_of_image(host: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
    conv, padding = host.patch_embed.projection, host.patch_embed.adaptive_padding
    if padding is not None:  # for image sizes that are not a multiple of the patch size
        added = padding.get_pad_shape(size)
        size = (size[0] + added[0], size[1] + added[1])
    sides = zip(size, conv.padding, conv.kernel_size, conv.stride, strict=True)
    return tuple((side + 2 * pad - kernel) // stride + 1 for side, pad, kernel, stride in sides)


@register_plain("mmpretrain.models.backbones.vision_transformer.VisionTransformer")
def vision_transformer_tokens(host: nn.Module) -> PlainTokens:
    """MMPretrain's VisionTransformer and DistilledVisionTransformer."""
    return PlainTokens(host, host.num_extra_tokens, host.patch_resolution, _grid_of_image)


@register_parts("mmpretrain.models.backbones.vision_transformer.TransformerEncoderLayer")
def encoder_layer(block: nn.Module) -> BlockParts:
    """Blocks of MMPretrain's VisionTransformer."""
    return BlockParts(block.attn, norm=(block, "ln2"), expand=(block.ffn.layers[0], "0"))


@register_host("mmpretrain.models.backbones.t2t_vit.T2T_ViT")
def t2t_vit(host: nn.Module) -> list[HostBlock]:
    """T2T_ViT: the blocks after the tokens-to-token module."""
    grid = WatchedGrid(host.tokens_to_token, _second_output)
    channels = host.tokens_to_token.project.out_features
    return [HostBlock(module, channels, grid) for module in host.encoder]


@register_host(
    "mmpretrain.models.backbones.swin_transformer.SwinTransformer",
    "mmdet.models.backbones.swin.SwinTransformer",
    "mmseg.models.backbones.swin.SwinTransformer",
)
def swin(host: nn.Module) -> list[HostBlock]:
    """Swin: blocks receive the grid and partition the windows themselves."""
    grid = ArgumentGrid()
    return [
        HostBlock(module, module.norm1.normalized_shape[0], grid, stage=index, max_extra_tokens=0)
        for index, stage in enumerate(host.stages)
        for module in stage.blocks
    ]


@register_host(
    "mmdet.models.backbones.pvt.PyramidVisionTransformer",
    "mmseg.models.backbones.mit.MixVisionTransformer",
)
def pyramid(host: nn.Module) -> list[HostBlock]:
    """PVT, PVTv2 and MiT: each stage consists of a patch embedding, blocks and a norm."""
    grid = ArgumentGrid()
    return [
        HostBlock(module, stage[0].embed_dims, grid, stage=index, max_extra_tokens=0)
        for index, stage in enumerate(host.layers)
        for module in stage[1]
    ]
