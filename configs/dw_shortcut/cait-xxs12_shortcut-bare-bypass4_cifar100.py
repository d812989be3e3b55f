_base_ = "./cait-xxs12_shortcut-bare_cifar100.py"

# Variant 1: one shortcut bypasses four blocks.
model = dict(backbone=dict(shortcut=dict(bypass=4)))
