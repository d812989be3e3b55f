_base_ = "./swin-t_tiny-imagenet.py"

# Windows are not shifted.
model = dict(backbone=dict(stage_cfgs=dict(block_cfgs=dict(shift=False))))
