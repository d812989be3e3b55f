model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="smallvit.TimmBackbone", model_name="pvt_v2_b0", drop_path_rate=0.1, norm_eps=1e-6
    ),
    head=dict(
        type="LinearClsHead",
        num_classes=100,
        in_channels=256,
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02),
    ),
)
