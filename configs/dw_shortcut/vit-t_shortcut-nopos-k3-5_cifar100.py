_base_ = "./vit-t_shortcut-nopos_cifar100.py"

# Variant 2: parallel branches with kernel sizes 3 and 5.
model = dict(backbone=dict(shortcut=dict(kernel_sizes=(3, 5))))
