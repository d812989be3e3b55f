_base_ = "./vit-t_ade20k.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="mmpretrain.VisionTransformer"))
