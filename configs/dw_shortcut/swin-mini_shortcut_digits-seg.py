_base_ = "./swin-mini_digits-seg.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="SwinTransformer"))
