_base_ = "./swin-mini_digits-det.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="SwinTransformer"))
