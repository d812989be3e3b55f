"""Small hosts of every kind, each with its own way to compute the maps that the view should return.

A host consists of a backbone, an input size and, for some blocks, the output map as the backbone's
own code computes it, which is independent of the adapters.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module

import pytest
import timm
from torch import Tensor, nn

from smallvit.backbones import DHVT, PVT, CaiT, CvT, DWNet, T2TViT, TimmBackbone

SIZE = (64, 96)
PLAIN = dict(embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32)
CAIT = dict(PLAIN, num_cls_layers=1)
SWIN = dict(embed_dims=16, depths=[1, 2, 1], num_heads=[1, 2, 4])
SWIN_DENSE = dict(SWIN, window_size=2, out_indices=(0, 1, 2), strides=(4, 2, 2))
PYRAMID = dict(embed_dims=16, num_layers=[1, 2], num_heads=[1, 2], num_stages=2)
DENSE = dict(
    patch_sizes=[4, 2], strides=[4, 2], paddings=[0, 0], sr_ratios=[2, 1], out_indices=(0, 1)
)
PVT_ARCH = dict(
    embed_dims=(16, 32),
    depths=(1, 2),
    num_heads=(1, 2),
    mlp_ratios=(2, 2),
    sr_ratios=(2, 1),
    patch_sizes=(4, 2),
)
CVT_ARCH = dict(
    embed_dims=(16, 32),
    depths=(1, 2),
    num_heads=(1, 2),
    mlp_ratios=(2, 2),
    kernel_sizes=(7, 3),
    strides=(4, 2),
    paddings=(2, 1),
)
MAPS = dict(out_type="featmap")

Shape = Callable[[nn.Module, int, Tensor], Tensor]


@dataclass(frozen=True)
class Host:
    """A backbone and its output maps after some of its blocks.

    Args:
        build: Builds the backbone.
        blocks: The blocks whose maps ``maps`` returns.
        maps: Computes maps (B, C, H, W) from the backbone and images.
        shape: What the backbone applies to the map of ``blocks[i]`` before returning it.
        stages: Number of blocks in each stage.
        size: Height and width of the images.
        extra: Number of extra tokens at the input of the first block and output of the last.
    """

    build: Callable[[], nn.Module]
    blocks: tuple[int, ...]
    stages: tuple[int, ...] = (3,)
    maps: Callable[[nn.Module, Tensor], list[Tensor]] = lambda host, images: list(host(images))
    shape: Shape = lambda host, i, feature: feature
    size: tuple[int, int] = SIZE
    extra: tuple[int, int] = (0, 0)


def norm_of_stage(host: nn.Module, i: int, feature: Tensor) -> Tensor:
    return _norm(getattr(host, f"norm{i}"), feature)


def norm_of_layer(host: nn.Module, i: int, feature: Tensor) -> Tensor:
    return _norm(host.layers[i][2], feature)


def norm_within_stage(host: nn.Module, i: int, feature: Tensor) -> Tensor:
    return _norm(getattr(host, "timm_model", host).stages[i].norm, feature)


def batch_norm_of_stage(host: nn.Module, i: int, feature: Tensor) -> Tensor:
    return getattr(host, f"norm{i}")(feature)


def _norm(norm: nn.Module, feature: Tensor) -> Tensor:
    return norm(feature.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def library(name: str, backbone: str) -> type[nn.Module]:
    # After smallvit, whose import provides the ops that mmdet and mmseg need.
    return getattr(import_module(f"{name}.models.backbones"), backbone)


def of_timm(*blocks: int, stages: tuple[int, ...], name: str, levels=None, **kwargs) -> Host:
    fields = {key: kwargs.pop(key) for key in ("extra", "size", "shape") if key in kwargs}
    indices = list(levels or blocks)
    return Host(
        lambda: timm.create_model(name, num_classes=0, **kwargs),
        blocks,
        stages,
        lambda host, images: maps_of_timm(host, images, indices),
        **fields,
    )


def maps_of_timm(host: nn.Module, images: Tensor, indices: list[int]) -> list[Tensor]:
    if not hasattr(host, "forward_intermediates"):  # ConViT before timm 1.0.31
        pytest.skip(f"timm {timm.__version__} does not return maps of {type(host).__name__}")
    return host.forward_intermediates(images, indices=indices, intermediates_only=True)


HOSTS = {
    "DHVT": Host(
        lambda: DHVT(PLAIN, num_heads=2, img_size=64, out_indices=(0, 1), **MAPS),
        (0, 1),
        extra=(1, 1),
    ),
    "T2TViT": Host(lambda: T2TViT(PLAIN, out_indices=(0, 1), **MAPS), (0, 1), extra=(1, 1)),
    "CaiT": Host(lambda: CaiT(CAIT, out_indices=(0, 1), **MAPS), (0, 1)),
    "PVT": Host(
        lambda: PVT(PVT_ARCH, out_indices=(0, 1), **MAPS), (0, 2), stages=(1, 2), extra=(0, 1)
    ),
    "CvT": Host(
        lambda: CvT(CVT_ARCH, out_indices=(0, 1), **MAPS), (0, 2), stages=(1, 2), extra=(0, 1)
    ),
    "DWNet": Host(
        lambda: DWNet(
            dict(embed_dims=16, depths=(1, 2), group_channels=(4, 4)),
            kernel_size=3,
            out_indices=(0, 1),
            **MAPS,
        ),
        (0, 2),
        stages=(1, 2),
        shape=batch_norm_of_stage,
    ),
    "TimmBackbone": Host(
        lambda: TimmBackbone("pvt_v2_b0", depths=(1, 1, 2, 1), out_indices=(0, 1, 2, 3), **MAPS),
        (0, 1, 3, 4),
        stages=(1, 1, 2, 1),
        shape=norm_within_stage,
    ),
    "mmpretrain VisionTransformer": Host(
        lambda: library("mmpretrain", "VisionTransformer")(PLAIN, 32, out_indices=[0, 1], **MAPS),
        (0, 1),
        extra=(1, 1),
    ),
    "mmpretrain VisionTransformer without class token": Host(
        lambda: library("mmpretrain", "VisionTransformer")(
            PLAIN, 32, out_indices=[0, 1], with_cls_token=False, **MAPS
        ),
        (0, 1),
    ),
    "mmpretrain DeiT": Host(
        lambda: library("mmpretrain", "DistilledVisionTransformer")(
            PLAIN, img_size=32, out_indices=[0, 1], **MAPS
        ),
        (0, 1),
        extra=(2, 2),
    ),
    "mmpretrain T2T_ViT": Host(
        lambda: library("mmpretrain", "T2T_ViT")(
            64,
            embed_dims=16,
            num_layers=3,
            out_indices=[0, 1],
            layer_cfgs=dict(num_heads=2, feedforward_channels=32),
            **MAPS,
        ),
        (0, 1),
        size=(64, 64),
        extra=(1, 1),
    ),
    "mmpretrain SwinTransformer": Host(
        lambda: library("mmpretrain", "SwinTransformer")(
            SWIN, out_indices=(0, 1, 2), window_size=2
        ),
        (0, 2, 3),
        stages=(1, 2, 1),
        shape=norm_of_stage,
    ),
    "mmdet SwinTransformer": Host(
        lambda: library("mmdet", "SwinTransformer")(**SWIN_DENSE),
        (0, 2, 3),
        stages=(1, 2, 1),
        shape=norm_of_stage,
    ),
    "mmseg SwinTransformer": Host(
        lambda: library("mmseg", "SwinTransformer")(**SWIN_DENSE),
        (0, 2, 3),
        stages=(1, 2, 1),
        shape=norm_of_stage,
    ),
    "mmdet PyramidVisionTransformer": Host(
        lambda: library("mmdet", "PyramidVisionTransformer")(
            **PYRAMID, **DENSE, mlp_ratios=[2, 2], use_abs_pos_embed=False
        ),
        (0, 2),
        stages=(1, 2),
        shape=norm_of_layer,
    ),
    "mmdet PyramidVisionTransformerV2": Host(
        lambda: library("mmdet", "PyramidVisionTransformerV2")(
            embed_dims=16, num_layers=[1, 1, 2, 1], num_heads=[1, 1, 1, 2]
        ),
        (0, 1, 3, 4),
        stages=(1, 1, 2, 1),
        shape=norm_of_layer,
    ),
    "mmseg MixVisionTransformer": Host(
        lambda: library("mmseg", "MixVisionTransformer")(
            **PYRAMID, patch_sizes=[7, 3], strides=[4, 2], sr_ratios=[2, 1], out_indices=(0, 1)
        ),
        (0, 2),
        stages=(1, 2),
        shape=norm_of_layer,
    ),
    "mmseg VisionTransformer": Host(
        lambda: library("mmseg", "VisionTransformer")(
            img_size=32, embed_dims=16, num_layers=3, num_heads=2, out_indices=(0, 1)
        ),
        (0, 1),
        extra=(1, 1),
    ),
    "timm VisionTransformer": of_timm(
        *(0, 2),
        stages=(3,),
        name="vit_tiny_patch16_224",
        img_size=SIZE,
        depth=3,
        embed_dim=48,
        extra=(1, 1),
    ),
    "timm VisionTransformer of any size": of_timm(
        *(0, 2),
        stages=(3,),
        name="deit_tiny_distilled_patch16_224",
        dynamic_img_size=True,
        depth=3,
        embed_dim=48,
        extra=(2, 2),
    ),
    "timm VisionTransformer with registers": of_timm(
        *(0, 2),
        stages=(3,),
        name="vit_tiny_patch16_224",
        img_size=SIZE,
        depth=3,
        embed_dim=48,
        reg_tokens=4,
        extra=(5, 5),
    ),
    "timm ConViT": of_timm(
        *(0, 10),
        stages=(12,),
        name="convit_tiny",
        img_size=64,
        size=(64, 64),
        embed_dim=16,
        extra=(0, 1),
    ),
    "timm CaiT": of_timm(
        *(0, 2),
        stages=(3,),
        name="cait_xxs24_224",
        img_size=SIZE,
        depth=3,
        embed_dim=16,
    ),
    "timm PiT": of_timm(
        *(1, 3, 4),
        stages=(2, 2, 1),
        levels=(0, 1, 2),
        name="pit_ti_224",
        img_size=SIZE,
        depth=(2, 2, 1),
        extra=(1, 1),
    ),
    "timm PiT with distillation": of_timm(
        *(0, 1),
        stages=(1, 1),
        levels=(0, 1),
        name="pit_ti_distilled_224",
        img_size=SIZE,
        depth=(1, 1),
        base_dims=(32, 32),
        heads=(1, 2),
        extra=(2, 2),
    ),
    "timm PVTv2": of_timm(
        *(0, 2, 3, 4),
        stages=(1, 2, 1, 1),
        levels=(0, 1, 2, 3),
        name="pvt_v2_b0",
        depths=(1, 2, 1, 1),
        shape=norm_within_stage,
    ),
    "timm Swin": of_timm(
        *(0, 2, 3),
        stages=(1, 2, 1),
        levels=(0, 1, 2),
        name="swin_tiny_patch4_window7_224",
        img_size=SIZE,
        depths=(1, 2, 1),
        num_heads=(1, 2, 4),
        embed_dim=16,
        window_size=2,
    ),
}
