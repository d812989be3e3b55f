_base_ = "./vit-t_shortcut-nopos_cifar100.py"

# No convolution: the block input is added to the block output unchanged.
model = dict(backbone=dict(shortcut=dict(kernel_sizes=())))
