_base_ = "./cait-xxs12_tiny-imagenet.py"

model = dict(backbone=dict(arch="xxs24"))
