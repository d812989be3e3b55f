_base_ = "./dhvt-t-p4_cifar100.py"

model = dict(backbone=dict(patch_size=2))
