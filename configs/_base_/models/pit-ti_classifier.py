model = dict(
    type="ImageClassifier",
    # The official drop path rates of the 12 blocks end one step before 0.1; timm's end at the given
    # rate.
    backbone=dict(
        type="smallvit.TimmBackbone", model_name="pit_ti_224", drop_path_rate=0.1 * 11 / 12
    ),
    head=dict(
        type="LinearClsHead",
        num_classes=100,
        in_channels=256,
        init_cfg=dict(type="smallvit.PyTorchInit", layer="Linear"),
    ),
)
