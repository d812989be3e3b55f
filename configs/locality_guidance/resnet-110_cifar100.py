# A deeper teacher, for the ablation.
_base_ = "./resnet-56_cifar100.py"

model = dict(backbone=dict(depth=110))
