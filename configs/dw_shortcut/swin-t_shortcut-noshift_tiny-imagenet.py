_base_ = "./swin-t_noshift_tiny-imagenet.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="SwinTransformer"))
