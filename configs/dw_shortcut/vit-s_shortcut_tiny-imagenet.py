_base_ = "./vit-s_tiny-imagenet.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="VisionTransformer"))
