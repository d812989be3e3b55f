_base_ = "./swin-t_ade20k.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="SwinTransformer"))
