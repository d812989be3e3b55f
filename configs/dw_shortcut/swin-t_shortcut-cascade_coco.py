_base_ = "./swin-t_cascade_coco.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="SwinTransformer"))
