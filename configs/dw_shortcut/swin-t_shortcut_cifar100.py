_base_ = "./swin-t_cifar100.py"

model = dict(backbone=dict(type="smallvit.DWConvShortcut", host="SwinTransformer"))
