_base_ = "./dhvt-t-p4_cifar10.py"

model = dict(backbone=dict(patch_size=2))
