_base_ = "./swin-t_tiny-imagenet.py"

# Windows stay where they are.
model = dict(backbone=dict(stage_cfgs=dict(block_cfgs=dict(shift=False))))
