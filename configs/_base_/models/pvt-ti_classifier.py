model = dict(
    type="ImageClassifier",
    backbone=dict(type="smallvit.PVT", arch="tiny", drop_path_rate=0.1),
    head=dict(
        type="LinearClsHead",
        num_classes=100,
        in_channels=512,
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
    ),
)
