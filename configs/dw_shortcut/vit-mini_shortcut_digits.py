_base_ = "./vit-mini_digits.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="VisionTransformer"))
