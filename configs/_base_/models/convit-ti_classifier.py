model = dict(
    type="ImageClassifier",
    backbone=dict(type="smallvit.TimmBackbone", model_name="convit_tiny", drop_path_rate=0.1),
    head=dict(
        type="LinearClsHead",
        num_classes=100,
        in_channels=192,
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
    ),
)
