_base_ = "./cait-xxs12_shortcut-bare_tiny-imagenet.py"

# Variant 1: one shortcut bypasses three blocks.
model = dict(backbone=dict(shortcut=dict(bypass=3)))
