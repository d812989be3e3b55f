_base_ = "./vit-mini_digits-det.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="mmpretrain.VisionTransformer"))
