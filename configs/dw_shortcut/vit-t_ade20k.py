_base_ = "./vit-s_ade20k.py"

model = dict(
    backbone=dict(arch="deit-tiny"),
    neck=dict(embed_dim=192),
    decode_head=dict(in_channels=[192] * 4),
    auxiliary_head=dict(in_channels=192),
)
