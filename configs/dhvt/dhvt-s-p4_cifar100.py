_base_ = "./dhvt-t-p4_cifar100.py"

model = dict(backbone=dict(arch="small", num_heads=8), head=dict(in_channels=384))
