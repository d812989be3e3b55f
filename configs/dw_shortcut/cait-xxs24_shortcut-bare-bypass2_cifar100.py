_base_ = "./cait-xxs24_shortcut-bare_cifar100.py"

# Variant 1: one shortcut bypasses two blocks.
model = dict(backbone=dict(shortcut=dict(bypass=2)))
