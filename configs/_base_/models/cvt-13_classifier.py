model = dict(
    type="ImageClassifier",
    backbone=dict(type="smallvit.CvT", arch="13", drop_path_rate=0.1),
    head=dict(
        type="LinearClsHead",
        num_classes=100,
        in_channels=384,
        # The official head keeps PyTorch's default bias initialization.
        init_cfg=[
            dict(type="smallvit.PyTorchInit", layer="Linear"),
            dict(
                type="smallvit.ParameterInit",
                names=["weight"],
                distribution="trunc_normal",
                std=0.02,
            ),
        ],
    ),
)
