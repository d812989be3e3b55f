_base_ = "./vit-s_ade20k.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="mmpretrain.VisionTransformer"))
