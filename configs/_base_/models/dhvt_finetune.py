_base_ = "./dhvt_classifier.py"

# From ImageNet weights, --cfg-options model.backbone.init_cfg.checkpoint=...; without stochastic
# depth, which the official code has off when it finetunes.
model = dict(
    backbone=dict(
        drop_path_rate=0.0,
        init_cfg=dict(
            type="Pretrained",
            checkpoint="work_dirs/dhvt-t_in1k/epoch_300.pth",
            prefix="backbone.",
        ),
    )
)
