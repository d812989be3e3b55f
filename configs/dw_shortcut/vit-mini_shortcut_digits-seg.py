_base_ = "./vit-mini_digits-seg.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="mmpretrain.VisionTransformer"))
