_base_ = "./vit-t_shortcut-nopos_cifar10.py"

# Kernel size 5 instead of 3.
model = dict(backbone=dict(shortcut=dict(kernel_sizes=5)))
