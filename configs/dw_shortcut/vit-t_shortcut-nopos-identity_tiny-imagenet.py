_base_ = "./vit-t_shortcut-nopos_tiny-imagenet.py"

# No convolution: what goes into a block is added to what comes out, as it is.
model = dict(backbone=dict(shortcut=dict(kernel_sizes=())))
