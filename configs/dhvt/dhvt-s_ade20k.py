_base_ = "./dhvt-t_ade20k.py"

model = dict(
    backbone=dict(arch="small"),
    neck=dict(embed_dim=384),
    decode_head=dict(in_channels=[384] * 4),
    auxiliary_head=dict(in_channels=384),
)
