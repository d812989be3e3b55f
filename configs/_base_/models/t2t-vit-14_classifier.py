_base_ = "./t2t-vit-7_classifier.py"

model = dict(backbone=dict(arch="14"), head=dict(in_channels=384))
