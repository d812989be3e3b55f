_base_ = "./cait-xxs12_shortcut-bare_cifar100.py"

model = dict(backbone=dict(arch="xxs24"))
