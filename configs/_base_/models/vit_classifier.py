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
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        cal_acc=False,
    ),
    init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02, bias=0.0),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)
