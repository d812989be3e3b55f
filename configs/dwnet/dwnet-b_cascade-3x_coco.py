_base_ = "./dwnet-t_cascade-3x_coco.py"

model = dict(
    backbone=dict(
        arch="base", init_cfg=dict(checkpoint="checkpoints/dwnet-b_in1k.pth"), drop_path_rate=0.3
    ),
    neck=dict(in_channels=[128, 256, 512, 1024]),
)
