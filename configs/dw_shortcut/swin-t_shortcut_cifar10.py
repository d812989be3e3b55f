_base_ = "./swin-t_cifar10.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="SwinTransformer"))
