_base_ = "./vit-s_coco.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="mmpretrain.VisionTransformer"))
