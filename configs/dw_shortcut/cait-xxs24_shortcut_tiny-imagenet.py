_base_ = "./cait-xxs24_tiny-imagenet.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="smallvit.CaiT"))
