_base_ = "./dhvt_classifier.py"

# From ImageNet weights, --cfg-options model.backbone.init_cfg.checkpoint=...; without stochastic
# depth and on stored statistics of batch norms, as the official network, which is not trained in
# training mode.
model = dict(
    backbone=dict(
        drop_path_rate=0.0,
        norm_eval=True,
        init_cfg=dict(
            type="Pretrained",
            checkpoint="work_dirs/dhvt-t_in1k/epoch_300.pth",
            prefix="backbone.",
        ),
    )
)
