_base_ = "./vit-t_shortcut-nopos_cifar100.py"

# Kernel size 7 instead of 3.
model = dict(backbone=dict(shortcut=dict(kernel_sizes=7)))
