_base_ = "./swin-t_in1k.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="SwinTransformer"))
