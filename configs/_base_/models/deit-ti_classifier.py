model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="VisionTransformer", arch="deit-tiny", img_size=224, patch_size=16, drop_path_rate=0.1
    ),
    head=dict(
        type="LinearClsHead",
        num_classes=100,
        in_channels=192,
        init_cfg=dict(type="Constant", layer="Linear", val=0.0),
    ),
    init_cfg=dict(
        type="smallvit.FinalInit",
        modules=["backbone"],
        init_cfg=[
            dict(type="TruncNormal", layer="Linear", std=0.02),
            dict(
                type="smallvit.ParameterInit",
                names=["cls_token", "pos_embed"],
                distribution="trunc_normal",
                std=0.02,
            ),
        ],
    ),
)
