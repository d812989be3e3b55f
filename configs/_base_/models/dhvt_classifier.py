model = dict(
    type="ImageClassifier",
    backbone=dict(
        type="smallvit.DHVT",
        arch="tiny",
        patch_size=16,
        drop_path_rate=0.1,
        # The official code synchronizes the norms of the patch embedding but not those of DAFF.
        sope_norm_cfg=dict(type="SyncBN"),
    ),
    head=dict(
        type="LinearClsHead",
        num_classes=1000,
        in_channels=192,
        init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02, bias=0.0),
        loss=dict(type="LabelSmoothLoss", label_smooth_val=0.1, mode="original"),
        cal_acc=False,
    ),
    train_cfg=dict(augments=[dict(type="Mixup", alpha=0.8), dict(type="CutMix", alpha=1.0)]),
)
