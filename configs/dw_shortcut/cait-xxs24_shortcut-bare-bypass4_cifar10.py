_base_ = "./cait-xxs24_shortcut-bare_cifar10.py"

# Variant 1: one shortcut bypasses four blocks.
model = dict(backbone=dict(shortcut=dict(bypass=4)))
