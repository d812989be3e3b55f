_base_ = "./swin-t_cifar100.py"

# Windows are not shifted.
model = dict(backbone=dict(stage_cfgs=dict(block_cfgs=dict(shift=False))))
