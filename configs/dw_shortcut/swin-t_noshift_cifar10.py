_base_ = "./swin-t_cifar10.py"

# Windows are not shifted.
model = dict(backbone=dict(stage_cfgs=dict(block_cfgs=dict(shift=False))))
