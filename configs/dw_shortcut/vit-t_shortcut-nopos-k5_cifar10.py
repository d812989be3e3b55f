_base_ = "./vit-t_shortcut-nopos_cifar10.py"

# A kernel of 5 in place of 3.
model = dict(backbone=dict(shortcut=dict(kernel_sizes=5)))
