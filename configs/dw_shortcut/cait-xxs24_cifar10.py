_base_ = "./cait-xxs12_cifar10.py"

model = dict(backbone=dict(arch="xxs24"))
