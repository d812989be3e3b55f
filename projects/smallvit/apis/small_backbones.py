"""Arguments for small instances of the libraries' backbones, used by the table of hosts."""

from __future__ import annotations

from typing import Any

_PLAIN = dict(embed_dims=64, num_layers=3, num_heads=2, feedforward_channels=64)
_SWIN = dict(embed_dims=16, depths=[1, 1, 2, 1], num_heads=[1, 1, 2, 2])
_TWINS = dict(
    embed_dims=[16, 32, 64, 128],
    num_heads=[1, 2, 4, 8],
    patch_sizes=[4, 2, 2, 2],
    strides=[4, 2, 2, 2],
    mlp_ratios=[2, 2, 2, 2],
    out_indices=(0, 1, 2, 3),
    sr_ratios=[8, 4, 2, 1],
)
_DENSE_VIT = dict(img_size=64, embed_dims=48, num_layers=3, num_heads=2, out_indices=(0, 1, 2))
_BRANCHES = (18, 36, 72, 144)
_HRNET = {
    f"stage{n}": dict(
        num_modules=1,
        num_branches=n,
        block="BASIC" if n > 1 else "BOTTLENECK",
        num_blocks=(4,) * n,
        num_channels=_BRANCHES[:n] if n > 1 else (64,),
    )
    for n in (1, 2, 3, 4)
}
_RESNET = dict(
    in_channels=3,
    depth=18,
    num_stages=4,
    out_indices=(0, 1, 2, 3),
    norm_eval=False,
    style="pytorch",
)
_STDC = dict(
    stdc_type="STDCNet1",
    in_channels=3,
    channels=(32, 64, 256, 512, 1024),
    bottleneck_type="cat",
    num_convs=4,
    norm_cfg=dict(type="BN"),
    act_cfg=dict(type="ReLU"),
)
_D18, _D50 = dict(depth=18), dict(depth=50)


def _arch(name: str | dict) -> dict[str, Any]:
    return dict(arch=name)


#: Arguments by library and class; classes that are not listed are built with their defaults.
SMALL: dict[str, dict[str, dict[str, Any]]] = {
    "mmpretrain": dict(
        VGG=dict(depth=11),
        RegNet=_arch("regnetx_400mf"),
        ResNet=_D18,
        ResNet_CIFAR=_D18,
        **dict.fromkeys(("ResNeXt", "ResNetV1c", "ResNetV1d", "ResNeSt", "SEResNet"), _D50),
        **dict.fromkeys(("SEResNeXt", "Res2Net", "CSPResNet", "CSPResNeXt", "SparseResNet"), _D50),
        VisionTransformer=dict(arch=_PLAIN, img_size=64),
        DistilledVisionTransformer=dict(arch=_PLAIN, img_size=64),
        RevVisionTransformer=dict(arch=_PLAIN, img_size=64),
        BEiTViT=dict(arch=_PLAIN, img_size=64),
        DeiT3=dict(arch=_PLAIN, img_size=64),
        SwinTransformer=dict(arch=_SWIN, window_size=2),
        SwinTransformerV2=dict(arch=dict(_SWIN, extra_norm_every_n_blocks=0), window_size=2),
        MixMIMTransformer=_arch(dict(_SWIN, embed_dims=32)),
        TIMMBackbone=dict(model_name="resnet18"),
        RepVGG=_arch("A0"),
        Conformer=_arch("tiny"),
        MlpMixer=_arch(dict(embed_dims=64, num_layers=3, tokens_mlp_dims=32, channels_mlp_dims=64)),
        PCPVT=_arch("small"),
        SVT=_arch("small"),
        EfficientNet=_arch("b0"),
        EfficientNetV2=_arch("b0"),
        ConvNeXt=_arch("atto"),
        HRNet=_arch("w18"),
        ConvMixer=_arch(dict(embed_dims=64, depth=4, patch_size=8, kernel_size=3)),
        EdgeNeXt=_arch("xxsmall"),
        CSPDarkNet=dict(depth=53),
        RepLKNet=_arch("31B"),
        RepMLPNet=_arch("B"),
        PoolFormer=_arch("s12"),
        RIFormer=_arch("s12"),
        DenseNet=_arch("121"),
        VAN=_arch("tiny"),
        MobileOne=_arch("s0"),
        EfficientFormer=_arch("l1"),
        MViT=_arch(dict(embed_dims=16, num_layers=4, num_heads=1, downscale_indices=[1, 2])),
        HorNet=_arch("tiny"),
        MobileViT=_arch("xx_small"),
        DaViT=_arch("tiny"),
        TinyViT=_arch("5m"),
        LeViT=_arch("128s"),
        Vig=_arch("tiny"),
        PyramidVig=_arch("tiny"),
        XCiT=dict(embed_dims=64, depth=3, num_heads=2),
        ViTSAM=_arch(dict(_PLAIN, global_attn_indexes=[2])),
        ViTEVA02=_arch("tiny"),
        HiViT=_arch("tiny"),
        SparseConvNeXt=_arch("small"),
    ),
    "mmdet": dict(
        RegNet=_arch("regnetx_400mf"),
        ResNet=_D18,
        **dict.fromkeys(("ResNetV1d", "ResNeXt", "Res2Net", "ResNeSt"), _D50),
        **dict.fromkeys(("DetectoRS_ResNet", "DetectoRS_ResNeXt"), _D50),
        SSDVGG=dict(depth=16, with_last_pool=False, ceil_mode=True),
        HRNet=dict(extra=_HRNET),
        HourglassNet=dict(num_stacks=1),
        TridentResNet=dict(
            depth=50,
            num_stages=3,
            num_branch=3,
            test_branch_idx=1,
            strides=(1, 2, 2),
            dilations=(1, 1, 1),
            trident_dilations=(1, 2, 3),
            out_indices=(2,),
        ),
        CSPDarknet=dict(widen_factor=0.25, deepen_factor=0.33),
        CSPNeXt=dict(widen_factor=0.25, deepen_factor=0.33),
        EfficientNet=_arch("b0"),
        SwinTransformer=dict(
            embed_dims=16, depths=[1, 1, 2, 1], num_heads=[1, 1, 2, 2], window_size=2
        ),
        PyramidVisionTransformer=dict(embed_dims=16, num_layers=[1, 1, 1, 1]),
        PyramidVisionTransformerV2=dict(embed_dims=16, num_layers=[1, 1, 1, 1]),
    ),
    "mmseg": dict(
        **dict.fromkeys(("ResNet", "ResNetV1c", "ResNetV1d"), _D18),
        **dict.fromkeys(("ResNeXt", "ResNeSt"), _D50),
        HRNet=dict(extra=_HRNET),
        UNet=dict(base_channels=8),
        VisionTransformer=_DENSE_VIT,
        BEiT=dict(_DENSE_VIT, qv_bias=True),
        MAE=_DENSE_VIT,
        SwinTransformer=dict(embed_dims=16, depths=[1, 1, 2, 1], num_heads=[1, 1, 2, 2]),
        MixVisionTransformer=dict(embed_dims=16, num_layers=[1, 1, 1, 1]),
        BiSeNetV1=dict(backbone_cfg=dict(_RESNET, type="mmseg.ResNet")),
        ICNet=dict(
            backbone_cfg=dict(
                _RESNET, type="mmseg.ResNetV1c", strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4)
            ),
            layer_channels=(128, 512),
        ),
        TIMMBackbone=dict(model_name="resnet18", features_only=True, pretrained=False),
        PCPVT=dict(_TWINS, depths=[1, 1, 2, 1], norm_after_stage=False),
        SVT=dict(_TWINS, depths=[2, 2, 2, 2], windiow_sizes=[7, 7, 7, 7], norm_after_stage=True),
        STDCNet=_STDC,
        STDCContextPathNet=dict(
            backbone_cfg=dict(_STDC, type="mmseg.STDCNet", with_final_conv=True),
            last_in_channels=(1024, 512),
            out_channels=128,
            ffm_cfg=dict(in_channels=384, out_channels=256, scale_factor=4),
        ),
        MSCAN=dict(embed_dims=[16, 32, 64, 128], depths=[1, 1, 2, 1]),
    ),
}

#: Backbones that are skipped, with the reason.
ABSTRACT = {
    (
        "mmpretrain",
        "CSPNet",
    ): "not built: abstract base class of CSPDarkNet, CSPResNet and CSPResNeXt,"
    " without a stem or an architecture",
    **{
        ("mmpretrain", name): "not run: accepts only masked images of SparK, whose mask is a global"
        " variable of its module"
        for name in ("SparseConvNeXt", "SparseResNet")
    },
    ("mmseg", "VPD"): "not built: requires the packages and weights of Stable Diffusion",
}

#: Layers whose weights are uninitialized memory until a checkpoint is loaded.
UNSET = ("TridentConv",)

#: Substrings of timm's model names, from small to large.
_SMALL_NAMES = (
    *("test_", "atto", "femto", "pico", "zepto", "nano", "xxxs", "xxt", "xxs", "xs", "xxtiny"),
    *("xtiny", "tiny", "tn", "_ti", "mini", "_n", "b0", "_s0", "m0", "_t_", "t0", "a0", "_0"),
    *("18", "10", "12", "50", "small", "_s", "light", "base"),
)
#: Modules whose names do not reveal the size, or whose smallest model has no two equal blocks.
_TIMM: dict[str, tuple[str, dict[str, Any]]] = {
    "beit": ("beit_base_patch16_224", dict(depth=2, embed_dim=48, num_heads=2)),
    "byobnet": ("mobileone_s0", {}),
    "deepseek_vit": ("deepseek_vit_412m", dict(depth=2)),
    "dla": ("dla34", {}),
    "dpn": ("dpn48b", {}),
    "efficientnet": ("efficientnet_b0", {}),
    "maxxvit": ("maxvit_rmlp_pico_rw_256", {}),
    "gemma4_vit": ("gemma4_vit_167m", dict(depth=2)),
    "naflexvit": ("naflexvit_base_patch16_gap", dict(depth=2)),
    "nfnet": ("eca_nfnet_l0", {}),
    "qwen3_vit": ("qwen3_vit_88m", dict(depth=2)),
    "regnet": ("regnetx_002", {}),
    "res2net": ("res2net50_14w_8s", {}),
    "resnest": ("resnest26d", {}),
    "resnet": ("resnet18", {}),
    "tnt": ("tnt_s_patch16_224", {}),
    "vision_transformer_sam": ("samvit_base_patch16_224", dict(depth=2)),
    "volo": ("volo_d1_224", dict(img_size=64)),
}


def small_timm_model(module: str) -> tuple[str, dict[str, Any]]:
    """Choose a small model of one of timm's modules.

    Args:
        module (str): Name of the module, e.g. "swin_transformer".

    Returns:
        tuple[str, dict]: Name of the model, and arguments that reduce its size.
    """
    if module in _TIMM:
        return _TIMM[module]
    import timm

    def size(name: str) -> tuple[int, int, str]:
        ranks = [rank for rank, part in enumerate(_SMALL_NAMES) if part in name]
        return min(ranks, default=len(_SMALL_NAMES)), len(name), name

    return min(timm.list_models(module=module), key=size), {}
