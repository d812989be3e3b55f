_base_ = "./vit-s_coco.py"

model = dict(
    backbone=dict(arch="deit-tiny"),
    neck=[
        dict(_base_.model.neck[0], embed_dim=192),
        dict(_base_.model.neck[1], in_channels=[192] * 4),
    ],
)
