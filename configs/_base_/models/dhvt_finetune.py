_base_ = "./dhvt_classifier.py"

# Start from ImageNet weights, --cfg-options model.backbone.init_cfg.checkpoint=... There is no
# stochastic depth, and batch norms use running statistics, because the official code fine-tunes in
# evaluation mode.
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
