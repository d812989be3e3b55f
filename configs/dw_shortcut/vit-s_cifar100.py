_base_ = "./vit-t_cifar100.py"

model = dict(backbone=dict(arch="deit-small"), head=dict(in_channels=384))
