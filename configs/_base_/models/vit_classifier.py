model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="VisionTransformer",
        arch="deit-tiny",
        img_size=224,
        patch_size=16,
        qkv_bias=False,
        norm_cfg=dict(type="LN", eps=1e-5),
    ),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        in_channels=192,
        init_cfg=dict(type="smallvit.PyTorchInit", layer="Linear"),
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        cal_acc=False,
    ),
    # As in the official code: PyTorch's default initialization, class token and positions from N(0,
    # 1).
    init_cfg=dict(
        type="smallvit.FinalInit",
        modules=["backbone"],
        init_cfg=[
            dict(type="smallvit.PyTorchInit"),
            dict(type="smallvit.ParameterInit", names=["cls_token", "pos_embed"]),
        ],
    ),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)
