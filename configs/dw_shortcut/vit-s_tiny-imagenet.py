_base_ = "./vit-t_tiny-imagenet.py"

model = dict(backbone=dict(arch="deit-small"), head=dict(in_channels=384))
