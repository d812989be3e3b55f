# T2T-ViT-12 cascade with all exits and reuse modules from ImageNet; the head is new.
network = dict(
    type="smallvit.T2TViT",
    arch="12",
    norm_cfg=dict(type="LN", eps=1e-5),
    token_drop_rate=0.1,
    drop_path_rate=0.1,
)
model = dict(
    type="smallvit.MultiExitClassifier",
    backbone=dict(
        type="smallvit.DynamicViT",
        exits=[dict(token_grid=grid, **network) for grid in (7, 10, 14)],
        # For another checkpoint: --cfg-options
        # model.backbone.init_cfg.checkpoint=dvt-t2t-12_in1k.pth
        init_cfg=dict(
            type="Pretrained",
            checkpoint="work_dirs/dvt-t2t-12_in1k/epoch_310.pth",
            prefix="backbone.",
        ),
    ),
    head=dict(type="smallvit.MultiExitHead", num_classes=10, in_channels=256),
)
