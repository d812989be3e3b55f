_base_ = "./swin-t_cifar10.py"

# Windows stay where they are.
model = dict(backbone=dict(stage_cfgs=dict(block_cfgs=dict(shift=False))))
