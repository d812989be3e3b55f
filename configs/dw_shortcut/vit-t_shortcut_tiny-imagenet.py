_base_ = "./vit-t_tiny-imagenet.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="VisionTransformer"))
