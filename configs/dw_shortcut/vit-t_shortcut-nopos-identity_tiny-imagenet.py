_base_ = "./vit-t_shortcut-nopos_tiny-imagenet.py"

# No convolution: the block input is added to the block output unchanged.
model = dict(backbone=dict(shortcut=dict(kernel_sizes=())))
