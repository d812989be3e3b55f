_base_ = "./vit-t_shortcut_cifar100.py"

# Variant 1: one shortcut bypasses two blocks; the paper also reports three and four.
model = dict(backbone=dict(shortcut=dict(bypass=2)))
