model = dict(
    type="ImageClassifier",
    backbone=dict(type="smallvit.T2TViT", arch="7", img_size=224, drop_path_rate=0.1),
    head=dict(
        type="LinearClsHead",
        num_classes=100,
        in_channels=256,
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
    ),
)
