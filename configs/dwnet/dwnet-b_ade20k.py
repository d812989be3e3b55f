_base_ = "./dwnet-t_ade20k.py"

model = dict(
    backbone=dict(arch="base", init_cfg=dict(checkpoint="checkpoints/dwnet-b_in1k.pth")),
    decode_head=dict(in_channels=[128, 256, 512, 1024]),
    auxiliary_head=dict(in_channels=512),
)
